"""Averages that forget: folding, fading, expiry and confidence."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.outcome import Sample
from crew_moe.domain.snapshot import Performance
from crew_moe.state.performance import ALPHA, EXPIRY, HALF_LIFE, as_read, confidence, fold
from tests.state.given import NOW, SAMPLE, STEADY, later, record

UNOBSERVED = Sample(expert_id="gpt-4o", task_type="testing", success=None)
AVERAGES = tuple(field.name for field in fields(Performance) if field.name not in ("samples", "updated_at"))

rates = st.none() | st.floats(0.0, 1.0)
amounts = st.none() | st.floats(0.0, 1e9)
ages = st.timedeltas(timedelta(0), timedelta(days=60))
samples = st.builds(
    Sample,
    expert_id=st.just("gpt-4o"),
    task_type=st.just("testing"),
    success=st.none() | st.booleans(),
    latency_ms=amounts,
    cost_usd=amounts,
    input_tokens=st.none() | st.integers(0, 10**8),
    output_tokens=st.none() | st.integers(0, 10**8),
    quality=rates,
    reward=rates,
)


def _folded(observed: list[tuple[Sample, timedelta]]) -> Performance:
    """The samples folded in order, each so long after the one before."""
    now = NOW
    result = fold(None, UNOBSERVED, now)
    for sample, pause in observed:
        now += pause
        result = fold(result, sample, now)
    return result


def test_first_observation_sets_every_average() -> None:
    performance = fold(None, SAMPLE, NOW)

    assert performance == Performance(
        samples=1.0,
        success_rate=1.0,
        latency_ms=800.0,
        cost_usd=0.25,
        input_tokens=100.0,
        output_tokens=50.0,
        quality=0.5,
        learned=1.0,
        updated_at=NOW,
    )


def test_next_observation_moves_an_average_by_a_tenth() -> None:
    performance = fold(fold(None, SAMPLE, NOW), replace(SAMPLE, success=False, latency_ms=1800.0, reward=0.0), NOW)

    assert performance.success_rate == pytest.approx(0.9)
    assert performance.latency_ms == pytest.approx(900.0)
    assert performance.learned == pytest.approx(0.9)
    assert performance.samples == 2.0


def test_unobserved_quantities_keep_their_averages() -> None:
    before = record()

    after = fold(before, UNOBSERVED, NOW)

    assert after == before


def test_a_failure_without_usage_does_not_make_an_expert_look_free() -> None:
    performance = fold(None, Sample(expert_id="gpt-4o", task_type="testing", success=False), NOW)

    assert performance.samples == 1.0
    assert performance.success_rate == 0.0
    assert (performance.cost_usd, performance.latency_ms, performance.output_tokens) == (None, None, None)


def test_feedback_alone_is_no_sample_of_a_call() -> None:
    after = fold(record(samples=3.0), replace(UNOBSERVED, reward=0.7, quality=0.6), NOW)

    assert after.samples == 3.0
    assert after.learned == 0.7
    assert after.quality == pytest.approx(0.78)


def test_samples_halve_in_a_week() -> None:
    read = as_read(record(samples=8.0), NOW + HALF_LIFE)

    assert read == record(samples=4.0)


def test_folding_fades_older_samples_first() -> None:
    assert fold(record(samples=8.0), SAMPLE, NOW + HALF_LIFE).samples == pytest.approx(5.0)


def test_record_expires_after_thirty_days() -> None:
    assert as_read(record(), NOW + EXPIRY - timedelta(microseconds=1)) is not None
    assert as_read(record(), NOW + EXPIRY) is None


def test_expired_record_starts_anew() -> None:
    assert fold(record(samples=500.0), SAMPLE, NOW + EXPIRY) == fold(None, SAMPLE, NOW + EXPIRY)


def test_confidence_is_sample_size_times_recency() -> None:
    assert confidence(record(samples=0.0), NOW) == 0.0
    assert confidence(record(samples=10.0), NOW) == pytest.approx(0.5)
    assert confidence(record(samples=30.0), NOW + HALF_LIFE) == pytest.approx(0.75 / 2)


def test_clock_that_goes_back_neither_ages_nor_strengthens_a_record() -> None:
    earlier = later(hours=-5)

    after = fold(record(samples=4.0), SAMPLE, earlier)

    assert after.samples == 5.0
    assert after.updated_at == NOW
    assert confidence(after, earlier) == confidence(after, NOW)


@STEADY
@given(st.lists(st.tuples(samples, ages), max_size=30))
def test_averages_stay_within_what_was_observed(observed: list[tuple[Sample, timedelta]]) -> None:
    performance = _folded(observed)

    for name in AVERAGES:
        field = {"success_rate": "success", "learned": "reward"}.get(name, name)
        seen = [float(getattr(sample, field)) for sample, _ in observed if getattr(sample, field) is not None]
        average = getattr(performance, name)
        assert average is None or min(seen) * (1 - 1e-12) <= average <= max(seen) * (1 + 1e-12)


@STEADY
@given(st.lists(st.tuples(samples, ages), max_size=30), ages)
def test_confidence_is_a_share_that_only_falls_with_age(
    observed: list[tuple[Sample, timedelta]], age: timedelta
) -> None:
    performance = _folded(observed)
    now = performance.updated_at

    assert 0.0 <= confidence(performance, now + age) <= confidence(performance, now) < 1.0
    assert 0.0 <= performance.samples <= len(observed)


@STEADY
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30))
def test_average_equals_the_textbook_sum(rewards: list[float]) -> None:
    performance: Performance | None = None
    for reward in rewards:
        performance = fold(performance, replace(UNOBSERVED, reward=reward), NOW)

    weights = [(1 - ALPHA) ** (len(rewards) - 1)]
    weights += [ALPHA * (1 - ALPHA) ** (len(rewards) - 1 - i) for i in range(1, len(rewards))]
    assert performance is not None
    assert performance.learned == pytest.approx(sum(w * r for w, r in zip(weights, rewards, strict=True)))


@STEADY
@given(ages, ages)
def test_fading_in_two_steps_equals_fading_in_one(first: timedelta, second: timedelta) -> None:
    moment = NOW + first
    once = fold(fold(record(), UNOBSERVED, moment), UNOBSERVED, moment + second)

    if first < EXPIRY and first + second < EXPIRY:
        whole = as_read(record(), moment + second)
        assert whole is not None
        assert once.samples == pytest.approx(whole.samples)
