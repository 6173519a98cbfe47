"""A breaker's life: row of failures, ejection, probes, back-off, and the promises that hold on any path."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.policy import BreakerPolicy
from crew_moe.domain.snapshot import Breaker, Circuit
from crew_moe.state.breaker import (
    MAX_HINT_MS,
    TRANSITIONS,
    Signal,
    admit,
    admits,
    cancel,
    expert_key,
    fail,
    provider_key,
    recovers_at,
    succeed,
)
from tests.state.given import NOW, POLICY, STEADY, later

Step = tuple[str, float, float | None]

kinds = st.sampled_from(["admit", "succeed", "fail", "cancel"])
pauses_s = st.floats(0.0, 2_000.0)
hints_ms = st.none() | st.floats(-1e3, 1e9)
steps = st.lists(st.tuples(kinds, pauses_s, hints_ms), max_size=40)
policies = st.builds(
    BreakerPolicy,
    failures=st.integers(1, 6),
    ejection_ms=st.floats(1.0, 60_000.0),
    max_ejection_ms=st.floats(60_000.0, 900_000.0),
    backoff=st.floats(1.0, 4.0),
    probes=st.integers(1, 3),
)


def _failed(times: int, breaker: Breaker | None = None, now: datetime = NOW) -> Breaker:
    return reduce(lambda before, _: fail(before, POLICY, now), range(times), breaker or Breaker())


def _step(breaker: Breaker, policy: BreakerPolicy, now: datetime, step: Step) -> Breaker:
    kind, _, hint_ms = step
    if kind == "admit":
        return admit(breaker, policy, now)[0]
    if kind == "succeed":
        return succeed(breaker, now)
    return cancel(breaker) if kind == "cancel" else fail(breaker, policy, now, eject_ms=hint_ms)


OPEN = _failed(5)
HALF_OPEN = admit(OPEN, POLICY, later(seconds=60))[0]


def test_keys_tell_experts_from_providers() -> None:
    assert (expert_key("gpt-4o"), provider_key("openai")) == ("expert:gpt-4o", "provider:openai")


def test_every_state_is_left_and_entered() -> None:
    assert {state for state, _ in TRANSITIONS} == set(TRANSITIONS.values()) == set(Circuit)
    assert {signal for _, signal in TRANSITIONS} == set(Signal)


def test_fifth_failure_in_a_row_opens_for_a_minute() -> None:
    assert _failed(4).state is Circuit.CLOSED
    assert Breaker(state=Circuit.OPEN, failures=5, ejections=1, until=later(seconds=60)) == OPEN


def test_success_ends_the_row_of_failures() -> None:
    assert succeed(_failed(4), NOW) == Breaker()
    assert _failed(4, succeed(_failed(4), NOW)).state is Circuit.CLOSED


def test_open_breaker_admits_nothing_until_its_ejection_ends() -> None:
    almost = later(seconds=59.999)

    assert not admits(OPEN, almost)
    assert admit(OPEN, POLICY, almost) == (OPEN, False)
    assert recovers_at(OPEN) == later(seconds=60)
    assert admits(OPEN, later(seconds=60))


def test_half_open_breaker_lends_its_probes_and_no_more() -> None:
    policy = replace(POLICY, probes=2)
    first, passes = admit(OPEN, policy, later(seconds=60))
    second, passes_too = admit(first, policy, later(seconds=61))

    assert passes
    assert passes_too
    assert (first.state, first.probes, second.probes) == (Circuit.HALF_OPEN, 1, 2)
    assert admit(second, policy, later(seconds=62)) == (second, False)


def test_success_of_a_probe_closes() -> None:
    assert succeed(HALF_OPEN, later(seconds=61)) == Breaker()


def test_failure_of_a_probe_opens_for_twice_as_long() -> None:
    again = fail(HALF_OPEN, POLICY, later(seconds=61))

    assert (again.state, again.ejections, again.probes) == (Circuit.OPEN, 2, 0)
    assert again.until == later(seconds=61 + 120)


def test_probe_given_back_may_be_lent_again() -> None:
    back = cancel(HALF_OPEN)

    assert back.probes == 0
    assert admit(back, POLICY, later(seconds=62)) == (replace(HALF_OPEN, until=later(seconds=122)), True)


def test_probe_that_never_reports_blocks_for_one_base_ejection() -> None:
    assert recovers_at(HALF_OPEN) == later(seconds=120)
    assert not admits(HALF_OPEN, later(seconds=119))

    lent_again, passes = admit(HALF_OPEN, POLICY, later(seconds=120))

    assert passes
    assert (lent_again.state, lent_again.probes) == (Circuit.HALF_OPEN, 1)


def test_cancel_without_a_probe_changes_nothing() -> None:
    assert [cancel(breaker) for breaker in (Breaker(), OPEN, cancel(HALF_OPEN))] == [Breaker(), OPEN, cancel(HALF_OPEN)]


def test_retry_after_opens_at_once_for_as_long_as_it_says() -> None:
    breaker = fail(Breaker(), POLICY, NOW, eject_ms=5_000)

    assert (breaker.state, breaker.until) == (Circuit.OPEN, later(seconds=5))


def test_longer_retry_after_extends_an_ejection_and_a_shorter_does_not() -> None:
    assert fail(OPEN, POLICY, later(seconds=30), eject_ms=90_000).until == later(seconds=120)
    assert fail(OPEN, POLICY, later(seconds=30), eject_ms=1_000) == OPEN


def test_short_retry_after_does_not_shorten_the_back_off_of_a_failed_probe() -> None:
    assert fail(HALF_OPEN, POLICY, later(seconds=61), eject_ms=1_000).until == later(seconds=181)


@pytest.mark.parametrize("hint_ms", [0.0, -5.0, float("nan")])
def test_retry_after_that_means_nothing_counts_as_a_plain_failure(hint_ms: float) -> None:
    assert fail(Breaker(), POLICY, NOW, eject_ms=hint_ms) == _failed(1)


def test_absurd_retry_after_ejects_for_a_day_at_most() -> None:
    breaker = fail(Breaker(), POLICY, NOW, eject_ms=float("inf"))

    assert breaker.until == NOW + timedelta(milliseconds=MAX_HINT_MS) == later(days=1)


def test_late_success_of_a_call_from_before_leaves_an_open_breaker_open() -> None:
    assert succeed(OPEN, later(seconds=1)) == OPEN


def test_results_without_admission_are_judged_as_probes_once_the_ejection_is_over() -> None:
    assert succeed(OPEN, later(seconds=60)) == Breaker()
    assert fail(OPEN, POLICY, later(seconds=60)).until == later(seconds=60 + 120)


def test_endless_outage_stays_at_the_cap() -> None:
    worn = replace(OPEN, ejections=5_000)

    assert fail(worn, POLICY, later(seconds=60)).until == later(seconds=60 + 900)


@STEADY
@given(policies, steps)
def test_an_ejection_is_never_shortened(policy: BreakerPolicy, path: list[Step]) -> None:
    breaker, now = Breaker(), NOW
    for step in path:
        now += timedelta(seconds=step[1])
        after = _step(breaker, policy, now, step)
        still_ejected = breaker.state is Circuit.OPEN and not admits(breaker, now)
        if still_ejected:
            hint_ms = min(max(0.0, step[2] or 0.0), MAX_HINT_MS) if step[0] == "fail" else 0.0
            assert breaker.until is not None
            assert after.until == max(breaker.until, now + timedelta(milliseconds=hint_ms))
        breaker = after


@STEADY
@given(policies, steps)
def test_every_path_keeps_the_shape_of_each_state(policy: BreakerPolicy, path: list[Step]) -> None:
    breaker, now = Breaker(), NOW
    for step in path:
        now += timedelta(seconds=step[1])
        breaker = _step(breaker, policy, now, step)
        assert breaker.probes == 0 or breaker.state is Circuit.HALF_OPEN
        if breaker.state is Circuit.CLOSED:
            assert breaker == Breaker(failures=breaker.failures)
            assert breaker.failures < policy.failures
        elif breaker.state is Circuit.OPEN:
            assert breaker.until is not None
        else:
            assert 0 <= breaker.probes <= policy.probes
            assert (breaker.until is not None) == (breaker.probes == policy.probes)


@STEADY
@given(policies, steps)
def test_admit_agrees_with_admits_and_no_path_wedges_a_breaker(policy: BreakerPolicy, path: list[Step]) -> None:
    breaker, now = Breaker(), NOW
    for step in path:
        now += timedelta(seconds=step[1])
        assert admit(breaker, policy, now)[1] == admits(breaker, now)
        breaker = _step(breaker, policy, now, step)
    recovered = recovers_at(breaker) or now

    assert admits(breaker, recovered)
    assert recovered <= now + timedelta(milliseconds=max(policy.max_ejection_ms, MAX_HINT_MS))
