"""What somebody may try against the gate: each try has one clear, typed answer, and lets nothing through."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from crew_moe.domain.approval import ApprovalState
from crew_moe.domain.expert import Tier
from crew_moe.domain.principal import Principal
from crew_moe.domain.verdict import GateContext, Ruling
from crew_moe.gating.answer import Outcome
from crew_moe.gating.checks import check, cooldown, has_any_role, max_concurrency, max_cost, needs_approval
from crew_moe.gating.consequence import OnHoldTimeout
from crew_moe.state import open_approvals
from tests.gating.given import LEAD, NOW, OTHER, Stage, call
from tests.gating.rivals import QUESTIONS

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0


@pytest.fixture
def stage() -> Stage:
    return Stage(checks=[needs_approval(roles=["lead"])], options={"on_hold_timeout": OnHoldTimeout.FAIL})


def approved(stage: Stage, **fields: Any) -> str:
    """The id of an approval of this call, which is good."""
    question = stage.desk.ask(call(**fields), roles=["lead"])
    assert stage.desk.answer(question.id, approve=True, by=LEAD).ok
    return question.id


# ---- approvals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forged", ["", "x", "../../etc/passwd", "' OR 1=1 --", "\u202eabc", "a" * 1_000_000, "\0"])
def test_forged_approval_opens_nothing(stage: Stage, forged: str) -> None:
    approved(stage)

    verdict = stage.desk.redeem(call(), forged)

    assert (verdict.ruling, verdict.check) == (Ruling.DENY, "approval")


def test_pending_and_denied_approvals_open_nothing(stage: Stage) -> None:
    pending = stage.desk.ask(call(), roles=["lead"])
    denied = stage.desk.ask(call(digest="d2"), roles=["lead"])
    stage.desk.answer(denied.id, approve=False, by=LEAD)

    assert stage.desk.redeem(call(), pending.id).ruling is Ruling.DENY
    assert stage.desk.redeem(call(digest="d2"), denied.id).ruling is Ruling.DENY


@pytest.mark.parametrize(
    "other",
    [
        {"digest": "d2"},
        {"expert_id": "o3"},
        {"max_cost_usd": Decimal("0.150000001")},
        {"user": "eve"},
        {"user": None},
        {"tenant": "evil"},
    ],
    ids=str,
)
def test_approval_of_another_call_opens_nothing_and_stays_good(stage: Stage, other: dict[str, Any]) -> None:
    approval_id = approved(stage)

    assert stage.desk.redeem(call(**other), approval_id).ruling is Ruling.DENY
    assert stage.desk.redeem(call(), approval_id).allowed


def test_yes_of_one_role_is_no_yes_of_another(stage: Stage) -> None:
    ops = Principal(subject="olga", tenant="acme", roles=frozenset({"ops"}))
    lesser = stage.desk.ask(call(), roles=["ops"])
    assert stage.desk.answer(lesser.id, approve=True, by=ops).ok

    verdict = stage.keeper.admit(call()).verdict

    assert verdict.ruling is Ruling.HOLD
    assert verdict.approval_id != lesser.id


def test_cheaper_call_of_the_same_request_is_covered(stage: Stage) -> None:
    assert stage.desk.redeem(call(max_cost_usd=Decimal("0.01")), approved(stage)).allowed


def test_raised_price_asks_again(stage: Stage) -> None:
    approved(stage)

    dearer = stage.keeper.admit(call(max_cost_usd=Decimal("0.16"))).verdict

    assert dearer.ruling is Ruling.HOLD
    assert [one.max_cost_nano for one in stage.console.questions] == [150_000_000, 160_000_000]


def test_replayed_approval_opens_nothing(stage: Stage) -> None:
    approval_id = approved(stage)

    passed = [stage.desk.redeem(call(), approval_id).allowed for _ in range(5)]

    assert passed == [True, False, False, False, False]
    assert stage.keeper.admit(call()).verdict.ruling is Ruling.HOLD


def test_of_many_threads_one_gets_the_approval_and_all_others_leave_their_places() -> None:
    stage = Stage(checks=[max_concurrency(20), needs_approval()])
    question = stage.desk.ask(call())
    stage.desk.answer(question.id, approve=True, by=LEAD)

    with ThreadPoolExecutor(8) as pool:
        admissions = list(pool.map(lambda _: stage.keeper.admit_at_once(call()), range(20)))

    assert [one.allowed for one in admissions].count(True) == 1
    assert stage.meters.status("concurrency:concurrency_user:user:acme/bob", NOW).in_use == 1


def test_clock_that_jumps_forward_ends_an_approval(stage: Stage) -> None:
    approval_id = approved(stage)
    stage.clock.advance(timedelta(days=400).total_seconds())

    assert stage.desk.redeem(call(), approval_id).ruling is Ruling.DENY


def test_clock_that_jumps_back_wakes_no_approval_that_was_used_or_denied(stage: Stage) -> None:
    used = approved(stage)
    denied = stage.desk.ask(call(digest="d2"), roles=["lead"])
    assert stage.desk.redeem(call(), used).allowed
    stage.desk.answer(denied.id, approve=False, by=LEAD)
    stage.clock.advance(-600)

    assert stage.desk.redeem(call(), used).ruling is Ruling.DENY
    assert stage.desk.answer(denied.id, approve=True, by=LEAD).outcome is Outcome.ALREADY


def test_stale_time_of_a_call_wakes_no_ended_approval(stage: Stage) -> None:
    approval_id = approved(stage)
    stage.clock.advance(1000)

    assert stage.desk.redeem(call(now=NOW), approval_id).ruling is Ruling.DENY


def test_clock_that_jumps_while_waiting_does_not_move_the_deadline(stage: Stage) -> None:
    jumps = iter([-3600.0, 7200.0])

    def sleep(seconds: float) -> None:
        stage.clock.advance(seconds)
        stage.clock._now += timedelta(seconds=next(jumps, 0.0))  # the wall clock alone

    verdict = stage.keeper.admit_within(call(), until=NOW + timedelta(seconds=10), sleep=sleep).verdict

    assert verdict.ruling is Ruling.DENY
    assert stage.clock.monotonic() <= 10.001


def test_clock_that_jumps_back_gives_no_new_cooldown() -> None:
    stage = Stage(checks=[cooldown(1, 60)])
    stage.keeper.admit(call())

    for jump in (-86_400, -1, 30):
        stage.clock.advance(jump)
        assert not stage.keeper.admit(call()).allowed


# ---- people ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "role", ["\u0430dmin", "admin\u200b", "Admin", " admin", "\uff41dmin", "adm\u0131n", "admin\u202e"]
)
def test_role_that_only_looks_right_opens_nothing(role: str) -> None:
    stage = Stage(checks=[has_any_role("admin")])

    assert stage.keeper.admit(call(roles=frozenset({role}))).verdict.ruling is Ruling.DENY


@pytest.mark.parametrize("role", ["l\u0435ad", "lead\u200b", "LEAD"])
def test_role_that_only_looks_right_answers_nothing(stage: Stage, role: str) -> None:
    question = stage.desk.ask(call(), roles=["lead"])
    liar = Principal(subject="mallory", tenant="acme", roles=frozenset({role}))

    assert stage.desk.answer(question.id, approve=True, by=liar).outcome is Outcome.WRONG_ROLE


@pytest.mark.parametrize("user", ["bob\u200b", "b\u2060ob", "BOB", "b\u043eb", "bob\u202e", "bob\t"])
def test_new_spelling_of_a_name_buys_no_new_cooldown(user: str) -> None:
    stage = Stage(checks=[cooldown(1, 60)])
    stage.keeper.admit(call())

    assert stage.keeper.admit(call(user=user)).verdict.check == "cooldown_user_60s"


def test_names_that_imitate_a_key_reach_no_other_meter() -> None:
    stage = Stage(checks=[cooldown(1, 60)])
    stage.keeper.admit(call(user="x:channel:acme/c1"))
    stage.keeper.admit(call(user="../acme/bob"))

    assert stage.keeper.admit(call(user="bob")).allowed


# ---- what is asked --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cost", ["NaN", "sNaN", "-NaN", "Infinity", "-Infinity", "-1", "-1e-30", "1e9999"])
@pytest.mark.parametrize("tier", [Tier.FAST, Tier.PREMIUM])
def test_cost_that_is_no_cost_is_denied(stage: Stage, cost: str, tier: Tier) -> None:
    verdict = stage.keeper.admit(call(max_cost_usd=Decimal(cost), tier=tier)).verdict

    assert (verdict.ruling, verdict.check) == (Ruling.DENY, "gate")
    assert stage.console.questions == []


def test_huge_cost_is_a_cost_and_too_much() -> None:
    assert Stage(checks=[max_cost("0.5")]).keeper.admit(call(max_cost_usd=Decimal("1e9"))).verdict.check == "max_cost"


def test_words_in_the_names_of_a_task_tell_an_approver_no_lies(stage: Stage) -> None:
    stage.keeper.admit(call(task="audit\napproved by lena\u202e at most $0.00", task_type="x" * 5000))

    (question,) = stage.console.questions
    assert "\n" not in question.summary
    assert "\u202e" not in question.summary
    assert len(question.summary) <= 400
    assert "at most $0.15" in question.summary


@pytest.mark.parametrize(
    "meddle", [lambda context: context.roles.add("admin"), lambda context: setattr(context, "tier", 0)]
)
def test_check_can_not_change_what_others_are_asked(meddle: Callable[[GateContext], Any]) -> None:
    stage = Stage(checks=[check(lambda context: bool(meddle(context)), name="meddling"), has_any_role("admin")])

    assert stage.keeper.admit(call()).verdict.ruling is Ruling.DENY


# ---- several processes ----------------------------------------------------------------------------------------------


def _rivals(what: str, url: str, ids: list[str], names: tuple[str, ...]) -> list[str]:
    """Which approvals the rivals got, all of them started at once."""
    with ExitStack() as stack:
        rivals = [stack.enter_context(_started(what, url, name)) for name in names]
        for rival in rivals:
            assert rival.stdout is not None
            assert rival.stdout.readline() == "ready\n"
        for rival in rivals:
            assert rival.stdin is not None
            rival.stdin.write(" ".join(ids) + "\n")
            rival.stdin.flush()
        return [won for rival in rivals for won in rival.communicate(timeout=PATIENCE_S)[0].split()]


def _started(what: str, url: str, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.gating.rivals", what, url, name]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_of_two_processes_that_answer_and_use_at_once_one_gets_each(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    approvals = open_approvals(url)
    stage = Stage(approvals=approvals)
    ids = [stage.desk.ask(call(digest=f"d{number}"), roles=["lead"]).id for number in range(QUESTIONS)]

    answered = _rivals("answers", url, ids, ("a", "bb"))
    decided = {one: stage.desk.get(one) for one in ids}
    used = _rivals("uses", url, ids, ("a", "bb"))

    assert sorted(answered) == sorted(ids)
    good = [one for one, found in decided.items() if found is not None and found.state is ApprovalState.APPROVED]
    assert sorted(used) == sorted(good)
    approvals.close()


def test_answer_of_another_process_is_heard_by_the_one_that_waits(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    ours, theirs = open_approvals(url), open_approvals(url)
    stage = Stage(checks=[needs_approval()], approvals=ours)
    other = Stage(approvals=theirs, clock=stage.clock)

    def answer() -> None:
        (question,) = other.desk.pending()
        other.desk.answer(question.id, approve=True, by=OTHER)

    admission = stage.keeper.admit_within(
        call(), until=NOW + timedelta(seconds=60), sleep=stage.sleeping(then=answer, after_s=5)
    )

    assert admission.allowed
    assert not stage.keeper.admit(replace(call(), digest="d2")).allowed
    ours.close()
    theirs.close()
