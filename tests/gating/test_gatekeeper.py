"""The gate with its stores: what is asked, taken, used up and given back, and what happens when a store is lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from crew_moe.domain.expert import Tier
from crew_moe.domain.verdict import Ruling, Verdict
from crew_moe.errors import StateError
from crew_moe.gating.checks import cooldown, has_any_role, max_concurrency, needs_approval, quiet_hours
from crew_moe.gating.consequence import OnHoldTimeout, downgrade, hold
from crew_moe.gating.gatekeeper import Admission
from tests.gating.given import LEAD, NOW, OTHER, Stage, call

SOON = NOW + timedelta(seconds=120)


def held(stage: Stage, **fields: Any) -> str:
    """The id of the approval that this call waits for."""
    verdict = stage.keeper.admit(call(**fields)).verdict
    assert verdict.ruling is Ruling.HOLD
    assert verdict.approval_id is not None
    return verdict.approval_id


def test_call_is_held_until_somebody_approves() -> None:
    stage = Stage(checks=[needs_approval(roles=["lead"])])
    approval_id = held(stage)

    assert held(stage) == approval_id
    stage.desk.answer(approval_id, approve=True, by=LEAD)
    admission = stage.keeper.admit(call())

    assert (admission.allowed, admission.approval_id) == (True, approval_id)
    assert stage.keeper.redeem(admission).allowed


def test_held_call_says_what_it_may_use_when_nobody_answers() -> None:
    lower = Stage(checks=[needs_approval()]).keeper.admit(call()).verdict
    fails = (
        Stage(checks=[needs_approval()], options={"on_hold_timeout": OnHoldTimeout.FAIL}).keeper.admit(call()).verdict
    )

    assert (lower.ruling, lower.tier) == (Ruling.HOLD, Tier.BASELINE)
    assert (fails.ruling, fails.tier) == (Ruling.HOLD, None)


def test_denied_call_stays_denied_and_says_by_whom() -> None:
    stage = Stage(checks=[needs_approval(roles=["lead"])])
    stage.desk.answer(held(stage), approve=False, by=LEAD, why="too dear")

    verdict = stage.keeper.admit(call()).verdict

    assert (verdict.ruling, verdict.reason) == (Ruling.DENY, "denied by lena: too dear")
    assert len(stage.console.questions) == 1


@pytest.mark.parametrize(
    ("on_timeout", "ruling", "tier"),
    [(OnHoldTimeout.DOWNGRADE, Ruling.DOWNGRADE, Tier.BASELINE), (OnHoldTimeout.FAIL, Ruling.DENY, None)],
)
def test_question_that_nobody_answered_ends_as_the_policy_says(
    on_timeout: OnHoldTimeout, ruling: Ruling, tier: Tier | None
) -> None:
    stage = Stage(checks=[needs_approval()], options={"on_hold_timeout": on_timeout})
    held(stage)
    stage.clock.advance(901)

    verdict = stage.keeper.admit(call()).verdict

    assert (verdict.ruling, verdict.tier) == (ruling, tier)
    assert "nobody approved in time" in verdict.reason


def test_nobody_is_asked_about_a_call_that_a_yes_would_not_help() -> None:
    night = quiet_hours("11:00", "13:00", otherwise=downgrade("fast"))
    stage = Stage(checks=[needs_approval(), night])

    verdict = stage.keeper.admit(call()).verdict

    assert (verdict.ruling, verdict.tier) == (Ruling.DOWNGRADE, Tier.FAST)
    assert stage.console.questions == []


def test_denial_beats_an_approval_that_was_given_before() -> None:
    stage = Stage(checks=[has_any_role("dev"), needs_approval()])
    stage.desk.answer(held(stage), approve=True, by=LEAD)

    assert stage.keeper.admit(call(roles=frozenset())).verdict.check == "has_any_role"
    assert stage.keeper.admit(call()).allowed


def test_waiting_takes_nothing_from_meters() -> None:
    stage = Stage(checks=[max_concurrency(1), needs_approval()])
    held(stage)

    assert stage.keeper.admit(call(digest="d2", granted=frozenset({"o1"}))).allowed


def test_approved_call_still_needs_room_and_keeps_its_approval() -> None:
    stage = Stage(checks=[max_concurrency(1), needs_approval()])
    stage.desk.answer(held(stage), approve=True, by=LEAD)
    other = stage.keeper.admit(call(digest="d2", granted=frozenset({"o1"})))

    crowded = stage.keeper.admit(call()).verdict
    assert (crowded.ruling, crowded.check) == (Ruling.DENY, "concurrency_user")
    assert "approved by lena, but" in crowded.reason
    stage.keeper.leave(other, made=True)

    assert stage.keeper.admit_at_once(call()).allowed


def test_approval_is_used_up_last_and_once() -> None:
    stage = Stage(checks=[max_concurrency(2), needs_approval()])
    stage.desk.answer(held(stage), approve=True, by=LEAD)
    first, second = stage.keeper.admit(call()), stage.keeper.admit(call())
    assert first.allowed
    assert second.allowed

    stage.keeper.leave(first, made=False)  # no money was left for it: the approval is still there
    assert stage.keeper.redeem(second).allowed
    assert stage.keeper.redeem(first).ruling is Ruling.DENY


def test_lost_race_for_an_approval_leaves_no_place_taken() -> None:
    stage = Stage(checks=[max_concurrency(1), needs_approval()])
    approval_id = held(stage)
    stage.desk.answer(approval_id, approve=True, by=LEAD)
    taken = stage.keeper.admit(call())
    stage.keeper.leave(taken, made=False)
    stage.desk.redeem(call(), approval_id)

    assert stage.keeper.redeem(taken).ruling is Ruling.DENY
    assert stage.meters.status("concurrency:concurrency_user:user:acme/bob", NOW).in_use == 0


def test_call_that_loses_the_race_at_once_leaves_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(checks=[max_concurrency(1), needs_approval()])
    stage.desk.answer(held(stage), approve=True, by=LEAD)
    monkeypatch.setattr(stage.desk, "redeem", lambda *_: Verdict(ruling=Ruling.DENY))

    assert not stage.keeper.admit_at_once(call()).allowed
    assert stage.meters.status("concurrency:concurrency_user:user:acme/bob", NOW).in_use == 0


def test_one_yes_does_not_lift_the_hold_of_a_crowd_too() -> None:
    stage = Stage(checks=[cooldown(1, 60, otherwise=hold("ops")), needs_approval(roles=["lead"])])
    stage.keeper.admit(call(digest="d2", granted=frozenset({"o1"})))
    stage.desk.answer(held(stage), approve=True, by=LEAD)

    verdict = stage.keeper.admit(call()).verdict

    assert (verdict.ruling, verdict.check, verdict.approval_id) == (Ruling.DENY, "cooldown_user_60s", None)


def test_wait_ends_with_the_answer() -> None:
    stage = Stage(checks=[needs_approval(roles=["lead"])])
    question = stage.desk.ask(call(), roles=["lead"])
    sleep = stage.sleeping(then=lambda: stage.desk.answer(question.id, approve=True, by=LEAD), after_s=30)

    admission = stage.keeper.admit_within(call(), until=SOON, sleep=sleep)

    assert admission.allowed
    assert stage.clock.monotonic() < 31
    assert stage.kinds() == ["approval_asked", "approval_answered", "approval_used"]


def test_wait_ends_with_a_no() -> None:
    stage = Stage(checks=[needs_approval()])
    question = stage.desk.ask(call())
    sleep = stage.sleeping(then=lambda: stage.desk.answer(question.id, approve=False, by=OTHER), after_s=1)

    assert stage.keeper.admit_within(call(), until=SOON, sleep=sleep).verdict.reason == "denied by otto"


def test_wait_ends_at_its_deadline_as_the_policy_says() -> None:
    stage = Stage(checks=[needs_approval()])

    verdict = stage.keeper.admit_within(call(), until=SOON, sleep=stage.clock.advance).verdict

    assert (verdict.ruling, verdict.tier, verdict.approval_id) == (Ruling.DOWNGRADE, Tier.BASELINE, None)
    assert stage.clock.monotonic() == pytest.approx(120)


async def test_wait_on_a_loop_ends_with_the_answer() -> None:
    stage = Stage(checks=[needs_approval()])

    async def sleep(seconds: float) -> None:
        stage.clock.advance(seconds)
        await asyncio.sleep(0)
        stage.desk.answer(stage.console.questions[0].id, approve=True, by=LEAD)

    assert (await stage.keeper.aadmit_within(call(), until=SOON, sleep=sleep)).allowed


def test_wait_sees_what_has_changed_meanwhile() -> None:
    stage = Stage(checks=[quiet_hours("12:01", "13:00"), needs_approval()])
    question = stage.desk.ask(call())
    sleep = stage.sleeping(then=lambda: stage.desk.answer(question.id, approve=True, by=LEAD), after_s=90)

    assert stage.keeper.admit_within(call(), until=SOON, sleep=sleep).verdict.check == "quiet_hours"


class Lost:
    """A store that nobody reaches."""

    def ask(self, *_: object, **__: object) -> Any:
        raise StateError("connection refused by redis://secret@host")

    get = use = take = give_back = ask


LOST: Any = Lost()


@pytest.mark.parametrize("stores", [{"meters": LOST}, {"approvals": LOST}], ids=["meters", "approvals"])
def test_lost_store_denies_and_says_no_more(stores: dict[str, Any]) -> None:
    stage = Stage(checks=[cooldown(5, 60), needs_approval()], **stores)
    granted = frozenset({"o1"}) if "meters" in stores else frozenset[str]()

    verdict = stage.keeper.admit_within(call(granted=granted), until=SOON, sleep=stage.clock.advance).verdict

    assert (verdict.ruling, verdict.check) == (Ruling.DENY, "gate")
    assert "redis" not in verdict.reason
    assert [name for name, _ in stage.sink.events] == ["gate_store_failed", "gate_verdict"]


def test_store_lost_before_the_approval_is_used_denies() -> None:
    stage = Stage(approvals=LOST)
    admission = Admission(verdict=Verdict(ruling=Ruling.ALLOW), context=call(), approval_id="a-known-one")

    assert stage.keeper.redeem(admission).ruling is Ruling.DENY


def test_store_lost_at_the_end_breaks_nothing() -> None:
    stage = Stage(checks=[max_concurrency(1)])
    admission = stage.keeper.admit(call())
    stage.keeper.meters = LOST

    stage.keeper.leave(admission, made=True)

    assert stage.sink.events[-1][0] == "gate_not_left"


async def test_store_lost_while_waiting_counts_as_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(checks=[needs_approval()])

    def lose(_: float) -> None:
        monkeypatch.setattr(stage.approvals, "get", LOST.get)

    async def alose(seconds: float) -> None:
        lose(seconds)

    waited = stage.keeper.admit_within(call(), until=SOON, sleep=lose)
    monkeypatch.undo()
    awaited = await stage.keeper.aadmit_within(call(), until=SOON, sleep=alose)

    assert (waited.verdict.ruling, awaited.verdict.ruling) == (Ruling.DOWNGRADE, Ruling.DOWNGRADE)


def test_verdicts_are_told_but_not_every_look_at_a_question() -> None:
    stage = Stage(checks=[has_any_role("dev"), needs_approval()])
    for _ in range(5):
        held(stage)
    stage.keeper.admit(call(roles=frozenset()))

    assert [name for name, _ in stage.sink.events] == ["approval_asked", "gate_verdict"]
    assert stage.sink.events[-1][1]["check"] == "has_any_role"


def test_hold_of_a_crowd_needs_the_role_of_its_own_check() -> None:
    stage = Stage(checks=[cooldown(1, 60, otherwise=hold("ops"))], options={"approvers": ["lead"]})
    stage.keeper.admit(call())

    held(stage)

    assert stage.console.questions[0].roles == ("ops",)


def test_admission_is_for_the_moment_it_was_asked() -> None:
    later: datetime = NOW + timedelta(hours=11)
    stage = Stage(checks=[quiet_hours("22:00", "06:00")])

    assert stage.keeper.admit(call()).allowed
    assert not stage.keeper.admit(replace(call(), now=later)).allowed
