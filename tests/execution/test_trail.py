"""The trail: whatever fails, and however, it keeps its order, its caps and its end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.outcome import ErrorClass
from crew_moe.execution.trail import (
    LEAST_WAIT_MS,
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


NOT_CALLED = frozenset(
    {
        ErrorClass.CIRCUIT_OPEN,
        ErrorClass.DENIED,
        ErrorClass.HELD,
        ErrorClass.NO_ROOM,
        ErrorClass.OVER_BUDGET,
        ErrorClass.SKIPPED,
    }
)
OUT_OF_EXPERTS = frozenset(
    {StopReason.EXHAUSTED, StopReason.BUDGET, StopReason.DENIED, StopReason.HELD, StopReason.ROOM}
)


def trail(*options: Option, max_attempts: int = 9) -> Trail:
    return Trail(
        options=options or (A, B, C),
        max_attempts=max_attempts,
        attempt_timeout_ms=1_000.0,
        max_wait_ms=500.0,
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


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ErrorClass.OVER_BUDGET, StopReason.BUDGET),
        (ErrorClass.DENIED, StopReason.DENIED),
        (ErrorClass.HELD, StopReason.HELD),
        (ErrorClass.NO_ROOM, StopReason.ROOM),
    ],
)
def test_trail_says_why_it_found_nobody(error: ErrorClass, reason: StopReason) -> None:
    after = trail(Option(expert_id="a", context_window=10, again=True)).after(error, called=False)

    assert after.step(None) == Stop(reason=reason)


def test_money_is_blamed_only_where_somebody_was_passed_over_for_it() -> None:
    after = trail(Option(expert_id="a", context_window=10)).after(ErrorClass.SERVER)

    assert after.step(None) == Stop(reason=StopReason.EXHAUSTED)


def test_expert_without_room_has_its_turn_behind_the_others() -> None:
    after = trail().after(ErrorClass.NO_ROOM, called=False, retry_after_ms=500.0)

    assert [after.step(None), after.after(ErrorClass.SERVER).after(ErrorClass.SERVER).step(None)] == [
        Call(expert_id="b", timeout_ms=1_000.0, whole=True),
        Call(expert_id="a", timeout_ms=1_000.0, whole=True),
    ]


def test_waits_for_room_add_up_to_the_queues_length_at_most() -> None:
    waiting = replace(trail(Option(expert_id="a", context_window=10, again=True)), max_queue_ms=900.0)
    waiting = waiting.after(ErrorClass.NO_ROOM, called=False, retry_after_ms=500.0)
    assert waiting.step(None) == Wait(ms=500.0)

    given_up = waiting.waited().after(ErrorClass.NO_ROOM, called=False, retry_after_ms=500.0)
    assert given_up.step(None) == Stop(reason=StopReason.ROOM)


def test_nobody_waits_for_room_beyond_the_deadline() -> None:
    waiting = replace(trail(Option(expert_id="a", context_window=10, again=True)), max_queue_ms=9_000.0)
    after = waiting.after(ErrorClass.NO_ROOM, called=False, retry_after_ms=500.0, left_ms=400.0)

    assert after.step(400.0) == Stop(reason=StopReason.ROOM)


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
        self.turns: list[int] = []
        self.waits: list[float] = []

    def play(self) -> StopReason:
        trail, left_ms = self.plan, self.data.draw(st.none() | st.floats(0, 5_000))
        while True:
            self.turns.append(trail.at)
            match trail.step(left_ms):
                case Stop(reason=reason):
                    return reason
                case Wait(ms=ms):
                    self.waits.append(ms)
                    left_ms = None if left_ms is None else left_ms - ms
                    trail = trail.waited()
                case Skip(expert_id=name, error=error):
                    self.passed.append(name)
                    trail = trail.after(error, called=False)
                case Call(expert_id=name) as call:
                    assert call.timeout_ms <= (self.plan.attempt_timeout_ms if left_ms is None else left_ms)
                    trail = self._ask(trail, name, left_ms)

    def _ask(self, trail: Trail, name: str, left_ms: float | None) -> Trail:
        option = trail.options[trail.at]
        assert option.expert_id == name
        assert option.context_window > trail.window
        error = self.data.draw(st.sampled_from(sorted(ErrorClass)))
        cleared = error not in NOT_CALLED
        (self.called if cleared else self.passed).append(name)
        return trail.after(
            error,
            called=cleared,
            retry_after_ms=self.data.draw(st.none() | st.floats(0, 2_000)),
            left_ms=left_ms,
        )


@st.composite
def plans(draw: st.DrawFn) -> Trail:
    names = [f"e{index}" for index in range(draw(st.integers(0, 6)))]
    return Trail(
        options=tuple(Option(expert_id=name, context_window=draw(st.integers(1, 5))) for name in names),
        max_attempts=draw(st.integers(0, 8)),
        attempt_timeout_ms=draw(st.floats(1, 2_000)),
        max_wait_ms=draw(st.floats(0, 1_000)),
        max_queue_ms=draw(st.floats(0, 100)),
    )


@given(plan=plans(), data=st.data())
def test_trail_ends_within_its_caps_and_in_its_order(plan: Trail, data: st.DataObject) -> None:
    world = World(data, plan)
    world.play()
    order = [option.expert_id for option in plan.options]
    queueing = plan.max_queue_ms // LEAST_WAIT_MS

    assert len(world.called) <= plan.max_attempts
    assert len(world.turns) <= 6 * len(order) + 2 * queueing + 1
    assert max(world.waits, default=0.0) <= max(plan.max_wait_ms, plan.max_queue_ms)
    assert sum(world.waits) <= 2 * len(order) * plan.max_wait_ms + plan.max_queue_ms
    assert world.turns == sorted(world.turns)


@given(plan=plans(), data=st.data())
def test_nobody_is_left_out_when_the_experts_run_out(plan: Trail, data: st.DataObject) -> None:
    world = World(data, plan)

    if world.play() in OUT_OF_EXPERTS:
        assert {*world.called, *world.passed} == {option.expert_id for option in plan.options}
