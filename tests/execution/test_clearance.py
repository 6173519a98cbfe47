"""Clearing a call: the gate's word, room and money, all or nothing, with a person's approval used up last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.budget import BudgetPolicy, OnExhausted
from crew_moe.domain.expert import Expert, Tier
from crew_moe.domain.meter import RateLimits
from crew_moe.domain.outcome import ErrorClass
from crew_moe.domain.verdict import GateContext
from crew_moe.errors import ExecutionFailed
from crew_moe.execution.clearance import Asking, Barrier, Clearance, Withheld
from crew_moe.execution.errand import Errand
from crew_moe.execution.route import Answer
from crew_moe.execution.trail import StopReason
from crew_moe.gating.approval import Operator
from crew_moe.gating.checks import cooldown, has_any_role, max_concurrency, needs_approval
from crew_moe.gating.consequence import OnHoldTimeout, downgrade
from tests.execution.given import CHAT, EXPERT, NOW, Stage, budget, expert, route, stage, trace

PREMIUM = expert("a", tier=Tier.PREMIUM)
TOLD = GateContext(
    expert_id="", provider="", tier=Tier.FAST, digest="the request", max_cost_usd=Decimal(0), now=NOW, user="ann"
)
DUTY = Operator(name="officer")


def asking(who: Expert = EXPERT, errand: Errand | None = None, *, cap: int = 100, least: int = 10) -> Asking:
    return Asking(
        expert=who,
        errand=errand or Errand(),
        bound=1_000,
        estimate=250,
        cap=cap,
        least=least,
        time_s=10.0,
        note="d1",
    )


def withheld(barrier: Barrier, what: Asking) -> Withheld:
    found = barrier.clear(what)
    assert isinstance(found, Withheld), found
    return found


def cleared(barrier: Barrier, what: Asking) -> Clearance:
    found = barrier.clear(what)
    assert isinstance(found, Clearance), found
    return found


@given(left=st.integers(0, 10**7), cap=st.integers(10, 5_000), prices=st.tuples(st.integers(0, 40), st.integers(0, 40)))
def test_an_answer_is_cut_to_what_the_budget_pays_for(left: int, cap: int, prices: tuple[int, int]) -> None:
    who = replace(EXPERT, input_usd_per_mtok=Decimal(prices[0]), output_usd_per_mtok=Decimal(prices[1]))
    on = stage()
    found = on.barrier().clear(asking(who, budget(left), cap=cap))

    least_nano = who.charge_nano(1_000, 10)
    assert isinstance(found, Clearance) is (least_nano <= left)
    if isinstance(found, Clearance):
        assert 10 <= found.cap <= cap
        assert found.worst_nano == on.spent() <= left


def test_a_refused_call_takes_nothing() -> None:
    on = stage(checks=(cooldown(1, 60.0),))
    who = replace(PREMIUM, limits=RateLimits(requests_per_minute=1))
    poor = replace(budget(5), context=TOLD)
    assert withheld(on.barrier(), asking(who, poor)).error is ErrorClass.OVER_BUDGET

    rich = replace(budget(10**9), context=TOLD)
    assert cleared(on.barrier(), asking(who, rich)).worst_nano == on.spent()


def test_a_withdrawn_call_gives_everything_back() -> None:
    on = stage(checks=(cooldown(1, 60.0),))
    who = replace(PREMIUM, limits=RateLimits(requests_per_minute=1, concurrent=1))
    errand = replace(budget(10**9), context=TOLD)
    for _ in range(3):
        on.barrier().withdraw(cleared(on.barrier(), asking(who, errand)))

    assert on.spent() == 0


def test_want_of_room_says_when_there_is_some() -> None:
    on, who = stage(), replace(EXPERT, limits=RateLimits(requests_per_minute=2))
    for _ in range(2):
        cleared(on.barrier(), asking(who))
    found = withheld(on.barrier(), asking(who))

    assert (found.error, found.room_ms) == (ErrorClass.NO_ROOM, 30_000.0)


@pytest.mark.parametrize(
    ("exhausted", "budget_usd", "final"),
    [(OnExhausted.DOWNGRADE, Decimal("0.000000005"), False), (OnExhausted.DENY, None, True)],
)
def test_the_policy_says_how_a_call_without_money_goes_on(
    exhausted: OnExhausted, budget_usd: Decimal | None, final: bool
) -> None:
    on = stage(budgets=BudgetPolicy(on_exhausted=exhausted))
    found = withheld(on.barrier(), asking(errand=budget(5)))

    assert (found.remedy.budget_usd if found.remedy else None) == budget_usd
    assert found.final is final


def test_an_approval_is_not_spent_on_a_call_without_money() -> None:
    on = stage(checks=(needs_approval(Tier.PREMIUM),))
    poor, rich = (replace(budget(nano), context=TOLD) for nano in (5, 10**9))
    asked = withheld(on.barrier(), asking(PREMIUM, rich)).approval_id
    assert asked is not None
    on.desk.answer(asked, approve=True, by=DUTY)

    assert withheld(on.barrier(), asking(PREMIUM, poor)).error is ErrorClass.OVER_BUDGET
    assert isinstance(on.barrier().clear(asking(PREMIUM, rich)), Clearance)
    assert withheld(on.barrier(), asking(PREMIUM, rich)).approval_id not in (None, asked)


# ---- on the way of a whole call -----------------------------------------------------------------------------------


def gated(*, deadline_s: float | None = None, who: Expert = PREMIUM, **fields: Any) -> tuple[Stage, Any]:
    """A stage whose gate asks a person for premium experts, and a route over one of them and a cheaper one."""
    on = stage(checks=(needs_approval(Tier.PREMIUM),), experts=(who, expert("b", "two")), **fields)
    errand = replace(budget(10**9), context=TOLD)
    deadline = None if deadline_s is None else on.clock.monotonic() + deadline_s
    return on, route("a", "b", errand=errand, deadline=deadline)


def after(on: Stage, sleeps: int, act: Callable[[], Any]) -> None:
    """Do something while the call sleeps for the n-th time."""

    def sleep(seconds: float) -> None:
        on.sleep(seconds)
        if len(on.slept_s) == sleeps:
            act()

    on.executor._sleep = sleep


def answer(on: Stage, *, approve: bool) -> None:
    (asked,) = on.desk.pending()
    assert on.desk.answer(asked.id, approve=approve, by=DUTY, why="because").ok


def test_a_held_call_goes_out_once_it_is_approved() -> None:
    on, way = gated()
    after(on, 3, lambda: answer(on, approve=True))
    found = on.executor.run(way, CHAT)

    assert trace(found.attempts) == [("a", None)]
    assert found.attempts[0].detail == "approved by officer"
    assert on.slept_s == [0.2, 0.2, 0.2]


async def test_a_held_call_waits_on_an_event_loop_too() -> None:
    on, way = gated()
    sleep = on.asleep

    async def asleep(seconds: float) -> None:
        await sleep(seconds)
        if len(on.slept_s) == 2:
            answer(on, approve=True)

    on.executor._asleep = asleep
    assert trace((await on.executor.arun(way, CHAT)).attempts) == [("a", None)]


def test_a_denied_call_goes_to_who_needs_no_approval() -> None:
    on, way = gated()
    after(on, 2, lambda: answer(on, approve=False))
    found = on.executor.run(way, CHAT)

    assert trace(found.attempts) == [("a", "denied"), ("b", None)]
    assert "denied by officer: because" in found.attempts[0].detail


def test_nobody_is_asked_twice_for_one_call() -> None:
    on, way = gated()
    after(on, 5, lambda: answer(on, approve=True))
    on.executor.run(way, CHAT)

    assert [name for name, _ in on.sink.events if name == "call_held"] == ["call_held"]


def unanswered(on: Stage, way: Any) -> ExecutionFailed | Answer:
    try:
        return on.executor.run(way, CHAT)
    except ExecutionFailed as failure:
        return failure


def test_a_held_call_leaves_time_for_a_cheaper_expert() -> None:
    on, way = gated(deadline_s=8.0)
    found = unanswered(on, way)

    assert isinstance(found, ExecutionFailed)
    assert (found.reason, found.remedy.max_tier) == (StopReason.HELD, Tier.BASELINE)
    assert on.clock.now() == NOW + timedelta(seconds=6)


def test_a_held_call_that_may_not_be_downgraded_waits_to_its_deadline() -> None:
    on, way = gated(deadline_s=8.0, on_hold_timeout=OnHoldTimeout.FAIL)
    found = unanswered(on, way)

    assert isinstance(found, ExecutionFailed)
    assert (found.reason, found.remedy) == (StopReason.HELD, None)
    assert on.clock.now() >= NOW + timedelta(seconds=7.9)


def test_a_question_that_ends_unanswered_ends_the_wait() -> None:
    on, way = gated()
    found = unanswered(on, way)

    assert isinstance(found, Answer)
    assert trace(found.attempts) == [("a", "denied"), ("b", None)]
    assert on.clock.now() - NOW <= timedelta(seconds=901)


def test_a_downgrade_passes_over_the_dear_and_says_so() -> None:
    on = stage(checks=(has_any_role("lead", otherwise=downgrade()),), experts=(PREMIUM, expert("b", "two")))
    found = on.executor.run(route("a", "b", errand=Errand(context=TOLD)), CHAT)

    assert trace(found.attempts) == [("a", "denied"), ("b", None)]
    assert found.attempts[0].detail.startswith("has_any_role")


def test_a_call_waits_its_turn_when_every_provider_is_full() -> None:
    who = expert("a", limits=RateLimits(requests_per_minute=1))
    on = stage(experts=(who,), limits=replace(stage().limits, max_queue_ms=90_000.0))
    assert trace(on.executor.run(route("a"), CHAT).attempts) == [("a", None)]
    found = on.executor.run(route("a"), CHAT)

    assert trace(found.attempts) == [("a", "no_room"), ("a", None)]
    assert sum(on.slept_s) == pytest.approx(60.0)


def test_a_person_may_let_a_call_pass_a_limit() -> None:
    on = stage(budgets=BudgetPolicy(on_exhausted=OnExhausted.HOLD))
    after(on, 2, lambda: answer(on, approve=True))
    found = on.executor.run(route("a", errand=replace(budget(5), context=TOLD)), CHAT)

    assert trace(found.attempts) == [("a", None)]
    assert found.attempts[0].detail == "approved by officer"
    assert ("budget_raised", "task:t1") in [(name, fields.get("scope")) for name, fields in on.sink.events]


def test_a_limit_that_a_person_does_not_lift_holds() -> None:
    on = stage(budgets=BudgetPolicy(on_exhausted=OnExhausted.HOLD))
    after(on, 2, lambda: answer(on, approve=False))
    found = unanswered(on, route("a", errand=replace(budget(5), context=TOLD)))

    assert isinstance(found, ExecutionFailed)
    assert trace(found.attempts) == [("a", "denied")]
    assert on.player.calls == []


def test_a_long_call_keeps_its_place_until_it_is_over() -> None:
    on = stage(checks=(max_concurrency(1, for_all=True),))
    along = replace(asking(errand=Errand(context=TOLD)), time_s=3_600.0)
    first = cleared(on.barrier(), along)
    on.clock.advance(3_500.0)

    assert withheld(on.barrier(), along).error is ErrorClass.DENIED
    on.barrier().close(first, charge_nano=0, usage=None)
    assert cleared(on.barrier(), along).cap == along.cap
