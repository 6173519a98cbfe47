"""The desk: who may answer what, what an answer is good for, and what is on record of it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from crew_moe.domain.approval import Approval, ApprovalState
from crew_moe.domain.principal import Principal
from crew_moe.domain.verdict import Ruling
from crew_moe.gating.answer import Outcome
from crew_moe.gating.approval import POLL_S, Operator
from crew_moe.ports import Approvals
from tests.gating.given import LEAD, NOW, OTHER, Stage, call


@pytest.fixture
def stage() -> Stage:
    return Stage()


def asked(stage: Stage, **fields: object) -> Approval:
    return stage.desk.ask(call(**fields), roles=["lead"], reason="a premium expert needs approval")


def test_question_tells_what_it_is_about_and_names_no_one(stage: Stage) -> None:
    question = asked(stage)

    assert question.summary == (
        "premium expert o1 for task audit (security_audit, risk low), at most $0.15: a premium expert needs approval"
    )
    assert (question.state, question.roles, question.asked_by) == (ApprovalState.PENDING, ("lead",), "bob")
    assert question.expires_at == NOW + timedelta(seconds=900)


def test_question_leaves_out_what_is_not_known(stage: Stage) -> None:
    bare = stage.desk.ask(call(task=None, task_type="", risk=""))

    assert bare.summary == "premium expert o1, at most $0.15"


def test_asking_again_asks_nobody_twice(stage: Stage) -> None:
    first, again = asked(stage), asked(stage)

    assert first.id == again.id
    assert [one.id for one in stage.console.questions] == [first.id]


def test_restarted_desk_finds_the_open_question(stage: Stage) -> None:
    first = asked(stage)

    again = stage.another_desk().ask(call(), roles=["lead"])

    assert again.id == first.id
    assert len(stage.console.questions) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"digest": "d2"},
        {"expert_id": "o3"},
        {"user": "eve"},
        {"tenant": "evil"},
        {"max_cost_usd": Decimal("0.150000001")},
    ],
    ids=str,
)
def test_another_call_is_another_question(stage: Stage, other: dict[str, object]) -> None:
    assert asked(stage).id != asked(stage, **other).id


def test_answer_is_taken_with_who_and_why(stage: Stage) -> None:
    answer = stage.desk.answer(asked(stage).id, approve=True, by=LEAD, why="fine for\nthis audit")

    assert (answer.ok, str(answer)) == (True, "approved by lena")
    assert answer.approval is not None
    assert (answer.approval.decided_by, answer.approval.why) == ("lena", "fine for this audit")


def test_first_characters_of_an_id_are_enough(stage: Stage) -> None:
    question = asked(stage)

    assert stage.desk.answer(question.id[:5], approve=True, by=LEAD).outcome is Outcome.AMBIGUOUS
    assert stage.desk.answer(f" {question.id[:6].swapcase()} ", approve=True, by=LEAD).ok


def test_ambiguous_beginning_is_not_answered(stage: Stage) -> None:
    first = asked(stage)
    twin = replace(first, id=first.id[:-1] + ("2" if first.id[-1] != "2" else "3"), digest="another")
    stage.approvals.ask(twin)

    assert stage.desk.answer(first.id[:8], approve=True, by=LEAD).outcome is Outcome.AMBIGUOUS
    assert stage.desk.answer(first.id, approve=True, by=LEAD).ok


@pytest.mark.parametrize(
    "forged", ["", "nosuchapproval", "x" * 10_000, "abc\u200bdef", "\u0430bcdef", "\0" * 8, "%" * 20]
)
def test_unknown_id_answers_nothing(stage: Stage, forged: str) -> None:
    asked(stage)

    answer = stage.desk.answer(forged, approve=True, by=LEAD)

    assert answer.outcome in {Outcome.UNKNOWN, Outcome.AMBIGUOUS}
    assert answer.approval is None


@pytest.mark.parametrize(
    ("by", "outcome"),
    [
        (OTHER, Outcome.WRONG_ROLE),
        (Principal(subject="bob", tenant="acme", roles=frozenset({"lead"})), Outcome.OWN_REQUEST),
        (Principal(subject="Bob\u200b", tenant="acme", roles=frozenset({"lead"})), Outcome.OWN_REQUEST),
        (Principal(subject="lena", tenant="evil", roles=frozenset({"lead"})), Outcome.UNKNOWN),
        (Principal(subject="lena", roles=frozenset({"lead"})), Outcome.UNKNOWN),
        (Operator(name="bob"), Outcome.OWN_REQUEST),
    ],
)
def test_who_may_not_answer_changes_nothing(stage: Stage, by: Principal | Operator, outcome: Outcome) -> None:
    question = asked(stage)

    answer = stage.desk.answer(question.id, approve=True, by=by)

    assert answer.outcome is outcome
    assert stage.desk.get(question.id) == question


def test_operator_of_the_machine_answers_without_a_role(stage: Stage) -> None:
    assert stage.desk.answer(asked(stage).id, approve=False, by=Operator(name="root")).ok


def test_second_answer_changes_nothing_and_says_so(stage: Stage) -> None:
    question = asked(stage)
    stage.desk.answer(question.id, approve=True, by=LEAD)
    stage.clock.advance(1)

    again = stage.desk.answer(question.id, approve=False, by=Principal(subject="liz", tenant="acme", roles=LEAD.roles))

    assert (again.outcome, str(again)) == (Outcome.ALREADY, "this was answered before: approved by lena")
    assert stage.kinds() == ["approval_asked", "approval_answered"]


class Behind:
    """A store as somebody sees it whose last look was before the last answer."""

    def __init__(self, store: Approvals, seen: Approval) -> None:
        self._store, self._seen = store, seen

    def get(self, *_: object) -> Approval:
        return self._seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_of_two_answers_at_once_the_slower_is_told(stage: Stage) -> None:
    question = asked(stage)
    behind: Any = Behind(stage.approvals, question)
    stage.desk.answer(question.id, approve=True, by=LEAD)

    slower = Stage(approvals=behind, log=stage.log).desk.answer(question.id, approve=False, by=Operator(name="root"))

    assert (slower.outcome, slower.approval and slower.approval.decided_by) == (Outcome.ALREADY, "lena")
    assert stage.kinds() == ["approval_asked", "approval_answered"]


def test_late_answer_is_told_that_it_is_late(stage: Stage) -> None:
    question = asked(stage)
    stage.clock.advance(901)

    assert stage.desk.answer(question.id, approve=True, by=LEAD).outcome is Outcome.EXPIRED


def test_approval_is_good_once(stage: Stage) -> None:
    question = asked(stage)
    stage.desk.answer(question.id, approve=True, by=LEAD)

    first, second = (stage.desk.redeem(call(), question.id) for _ in range(2))

    assert (first.ruling, second.ruling) == (Ruling.ALLOW, Ruling.DENY)


def test_every_question_answer_and_use_is_on_record(stage: Stage) -> None:
    question = asked(stage)
    stage.desk.answer(question.id, approve=True, by=LEAD, why="audit season")
    stage.desk.redeem(call(), question.id)

    rows = stage.log.tail(10)
    assert stage.kinds() == ["approval_asked", "approval_answered", "approval_used"]
    assert [(row["by"], row["why"]) for row in rows[:2]] == [("lena", "audit season")] * 2
    assert all((row["decision_id"], row["expert_id"]) == ("d-1", "o1") for row in rows)
    assert "bob" not in json.dumps(list(rows))


def test_no_holds_for_the_call_as_long_as_its_question_would_have(stage: Stage) -> None:
    question = asked(stage)
    stage.another_desk().answer(question.id, approve=False, by=LEAD)

    assert asked(stage).state is ApprovalState.DENIED
    stage.clock.advance(901)
    assert asked(stage).state is ApprovalState.PENDING


def test_that_nobody_answered_is_told_once(stage: Stage) -> None:
    asked(stage)
    stage.clock.advance(901)

    assert [asked(stage).state for _ in range(2)] == [ApprovalState.EXPIRED, ApprovalState.PENDING]


def test_waiting_ends_soon_after_the_answer(stage: Stage) -> None:
    question = asked(stage)
    sleep = stage.sleeping(then=lambda: stage.desk.answer(question.id, approve=True, by=LEAD), after_s=60)

    found = stage.desk.wait(question.id, until=NOW + timedelta(seconds=600), sleep=sleep)

    assert found is not None
    assert found.state is ApprovalState.APPROVED
    assert 60 <= stage.clock.monotonic() <= 60 + POLL_S


def test_waiting_ends_at_its_deadline(stage: Stage) -> None:
    found = stage.desk.wait(asked(stage).id, until=NOW + timedelta(seconds=10.1), sleep=stage.clock.advance)

    assert found is not None
    assert found.state is ApprovalState.PENDING
    assert stage.clock.monotonic() == pytest.approx(10.1)


def test_waiting_for_an_unknown_approval_does_not_wait(stage: Stage) -> None:
    assert stage.desk.wait("nosuchapproval", until=NOW + timedelta(days=1), sleep=stage.clock.advance) is None
    assert stage.clock.monotonic() == 0


async def test_waiting_on_a_loop_leaves_it_free(stage: Stage) -> None:
    question = asked(stage)

    async def sleep(seconds: float) -> None:
        stage.clock.advance(seconds)
        await asyncio.sleep(0)
        if stage.clock.monotonic() > 5:
            stage.desk.answer(question.id, approve=False, by=LEAD)

    found = await stage.desk.await_answer(question.id, until=NOW + timedelta(seconds=60), sleep=sleep)

    assert found is not None
    assert found.state is ApprovalState.DENIED


def test_approver_that_fails_hinders_nobody(stage: Stage) -> None:
    class Broken:
        def asked(self, approval: Approval) -> None:
            raise ConnectionError(f"the secret channel of {approval.task}")

    stage.desk.attach(Broken())
    stage.desk.attach(stage.console)

    assert asked(stage).state is ApprovalState.PENDING
    assert len(stage.console.questions) == 2
    failed = dict(stage.sink.events)["approver_failed"]
    assert (failed["approver"], failed["error"]) == ("Broken", "ConnectionError")
