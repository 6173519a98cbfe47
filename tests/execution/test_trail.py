"""The trail: whatever fails, and however, it keeps its order, its caps and its end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.outcome import ErrorClass
from crew_moe.execution.trail import (
    REACTIONS,
    Blame,
    Call,
    Option,
    Skip,
    Step,
    Stop,
    StopReason,
    Then,
    Trail,
    Wait,
)

A, B, C = (Option(expert_id=name, context_window=window) for name, window in (("a", 10), ("b", 10), ("c", 20)))


def trail(*options: Option, max_attempts: int = 9, budget_nano: int | None = None) -> Trail:
    return Trail(
        options=options or (A, B, C),
        max_attempts=max_attempts,
        attempt_timeout_ms=1_000.0,
        max_wait_ms=500.0,
        budget_nano=budget_nano,
    )


def next_expert(step: Step) -> str:
    assert isinstance(step, Call)
    return step.expert_id


def test_every_error_class_has_a_reaction() -> None:
    assert set(REACTIONS) == set(ErrorClass)


@pytest.mark.parametrize("error", [error for error in ErrorClass if REACTIONS[error].then is not Then.LARGER])
def test_failure_goes_on_to_the_next_expert(error: ErrorClass) -> None:
    after = trail().after(error)

    assert next_expert(after.step(None)) == "b"


@pytest.mark.parametrize("error", [ErrorClass.BAD_REQUEST, ErrorClass.REFUSED, ErrorClass.CONTEXT_OVERFLOW])
def test_what_the_request_is_to_blame_for_counts_against_no_breaker(error: ErrorClass) -> None:
    assert (REACTIONS[error].expert, REACTIONS[error].provider) == (Blame.NONE, Blame.NONE)


def test_second_rejection_of_the_request_ends_it() -> None:
    after = trail().after(ErrorClass.BAD_REQUEST).after(ErrorClass.BAD_REQUEST)

    assert after.step(None) == Stop(reason=StopReason.REJECTED)


def test_overflow_skips_experts_whose_window_is_no_larger() -> None:
    after = trail().after(ErrorClass.CONTEXT_OVERFLOW)
    step = after.step(None)

    assert isinstance(step, Skip)
    assert (step.expert_id, step.error) == ("b", ErrorClass.CONTEXT_OVERFLOW)
    assert next_expert(after.after(step.error, called=False).step(None)) == "c"


def test_overflow_is_remembered_over_later_failures() -> None:
    small = Option(expert_id="d", context_window=10)
    after = trail(A, C, small).after(ErrorClass.CONTEXT_OVERFLOW).after(ErrorClass.SERVER)

    assert isinstance(after.step(None), Skip)


def test_short_retry_after_is_waited_for_and_the_same_expert_is_asked_again() -> None:
    after = trail().after(ErrorClass.RATE_LIMIT, retry_after_ms=300.0)

    assert after.step(None) == Wait(ms=300.0)
    assert next_expert(after.waited().step(None)) == "a"


def test_second_rate_limit_of_the_same_expert_moves_on() -> None:
    again = trail().after(ErrorClass.RATE_LIMIT, retry_after_ms=300.0).waited()

    assert next_expert(again.after(ErrorClass.RATE_LIMIT, retry_after_ms=300.0).step(None)) == "b"


@pytest.mark.parametrize(("retry_after_ms", "left_ms"), [(501.0, None), (300.0, 300.0), (None, None)])
def test_long_or_unknown_or_late_retry_after_is_not_waited_for(
    retry_after_ms: float | None, left_ms: float | None
) -> None:
    after = trail().after(ErrorClass.RATE_LIMIT, retry_after_ms=retry_after_ms, left_ms=left_ms)

    assert next_expert(after.step(None)) == "b"


def test_deadline_cuts_the_attempt_and_then_ends_the_trail() -> None:
    assert trail().step(400.0) == Call(expert_id="a", timeout_ms=400.0, whole=False)
    assert trail().step(4_000.0) == Call(expert_id="a", timeout_ms=1_000.0, whole=True)
    assert trail().step(0.0) == Stop(reason=StopReason.DEADLINE)


def test_expert_that_the_budget_does_not_cover_is_skipped() -> None:
    dear, cheap = (
        Option(expert_id="dear", context_window=10, floor_nano=11),
        Option(expert_id="cheap", context_window=10),
    )
    step = trail(dear, cheap, budget_nano=10).step(None)

    assert step == Skip(expert_id="dear", error=ErrorClass.SKIPPED, detail="budget")


def test_what_failed_calls_may_have_cost_is_taken_from_the_budget() -> None:
    costly = [Option(expert_id=name, context_window=10, floor_nano=6) for name in "ab"]
    after = trail(*costly, budget_nano=10).after(ErrorClass.SERVER, cost_nano=5)

    assert isinstance(after.step(None), Skip)
    assert after.after(ErrorClass.SKIPPED, called=False).step(None) == Stop(reason=StopReason.BUDGET)


def test_money_is_blamed_only_where_somebody_was_passed_over_for_it() -> None:
    costly = Option(expert_id="a", context_window=10, floor_nano=6)
    after = trail(costly, budget_nano=10).after(ErrorClass.SERVER, cost_nano=9)

    assert after.step(None) == Stop(reason=StopReason.EXHAUSTED)


def test_skips_do_not_count_as_attempts() -> None:
    after = trail(max_attempts=1).after(ErrorClass.CIRCUIT_OPEN, called=False)

    assert next_expert(after.step(None)) == "b"
    assert after.after(ErrorClass.SERVER).step(None) == Stop(reason=StopReason.ATTEMPTS)


class World:
    """Draws what happens at each step, and keeps the books that the machine is judged by."""

    def __init__(self, data: st.DataObject, plan: Trail) -> None:
        self.data = data
        self.plan = plan
        self.called: list[str] = []
        self.passed: list[str] = []
        self.waited_ms = 0.0
        self.steps = 0

    def play(self) -> StopReason:
        trail, left_ms = self.plan, self.data.draw(st.none() | st.floats(0, 5_000))
        while True:
            self.steps += 1
            match trail.step(left_ms):
                case Stop(reason=reason):
                    return reason
                case Wait(ms=ms):
                    self.waited_ms = max(self.waited_ms, ms)
                    left_ms = None if left_ms is None else left_ms - ms
                    trail = trail.waited()
                case Skip(expert_id=name, error=error):
                    self.passed.append(name)
                    trail = trail.after(error, called=False)
                case Call(expert_id=name) as call:
                    assert call.timeout_ms <= (self.plan.attempt_timeout_ms if left_ms is None else left_ms)
                    trail = self._ask(trail, name, left_ms)

    def _ask(self, trail: Trail, name: str, left_ms: float | None) -> Trail:
        if not self.data.draw(st.booleans(), label="admitted"):
            self.passed.append(name)
            return trail.after(ErrorClass.CIRCUIT_OPEN, called=False)
        option = self.plan.options[trail.at]
        assert option.expert_id == name
        assert trail.left_nano is None or option.floor_nano <= trail.left_nano
        assert option.context_window > trail.window
        self.called.append(name)
        return trail.after(
            self.data.draw(st.sampled_from(sorted(ErrorClass))),
            cost_nano=self.data.draw(st.integers(0, option.floor_nano)),
            retry_after_ms=self.data.draw(st.none() | st.floats(0, 2_000)),
            left_ms=left_ms,
        )


@st.composite
def plans(draw: st.DrawFn) -> Trail:
    names = [f"e{index}" for index in range(draw(st.integers(0, 6)))]
    options = tuple(
        Option(expert_id=name, context_window=draw(st.integers(1, 5)), floor_nano=draw(st.integers(0, 9)))
        for name in names
    )
    return Trail(
        options=options,
        max_attempts=draw(st.integers(0, 8)),
        attempt_timeout_ms=draw(st.floats(1, 2_000)),
        max_wait_ms=draw(st.floats(0, 1_000)),
        budget_nano=draw(st.none() | st.integers(0, 30)),
    )


@given(plan=plans(), data=st.data())
def test_trail_ends_within_its_caps_and_in_its_order(plan: Trail, data: st.DataObject) -> None:
    world = World(data, plan)
    world.play()
    order = [option.expert_id for option in plan.options]

    assert len(world.called) <= plan.max_attempts
    assert world.steps <= 3 * len(order) + 1
    assert world.waited_ms <= plan.max_wait_ms
    assert all(world.called.count(name) <= 2 for name in order)
    assert world.called == sorted(world.called, key=order.index)
    assert world.passed == sorted(set(world.passed), key=order.index)


@given(plan=plans(), data=st.data())
def test_nobody_is_left_out_when_the_experts_run_out(plan: Trail, data: st.DataObject) -> None:
    world = World(data, plan)

    if world.play() in (StopReason.EXHAUSTED, StopReason.BUDGET):
        assert {*world.called, *world.passed} == {option.expert_id for option in plan.options}
