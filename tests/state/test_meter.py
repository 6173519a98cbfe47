"""The arithmetic of meters: what any order of calls and any clock can't do to a rate."""

from __future__ import annotations

from datetime import timedelta
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.meter import Demand, Rate, RateLimits, Told
from crew_moe.errors import InvalidInput
from crew_moe.state.bucket import Bucket
from crew_moe.state.meter import CLOCK_TOLERANCE_US, SECOND_US, Meter, from_us, leased, to_us
from tests.state.given import NOW, STEADY

START = to_us(NOW)
DUST = 1e-9  # what doubles may lose, as a share of the capacity

capacities = st.floats(0.05, 1e7) | st.integers(1, 10_000).map(float)
periods = st.sampled_from([0.5, 1.0, 60.0, 3_600.0, 86_400.0])
shares = st.floats(0.0, 1.0)
pauses_us = st.integers(0, 5 * SECOND_US) | st.integers(-CLOCK_TOLERANCE_US // 4, 90 * SECOND_US)


def rate(capacity: float, per_s: float, amount: float) -> Rate:
    return Rate(name="r", capacity=capacity, per_s=per_s, amount=amount)


def attempt(meter: Meter, wanted: Rate, now: int) -> int | None:
    """Take if there is room: None. Else the moment at which there will be."""
    demand = Demand(key="k", rates=(wanted,))
    hindrance = meter.hindrance(demand, now)
    if hindrance is None:
        meter.take(demand, "p", SECOND_US, now)
    return None if hindrance is None else hindrance[1]


@STEADY
@given(capacity=capacities, per_s=periods, calls=st.lists(st.tuples(pauses_us, shares), max_size=40))
def test_no_interval_lets_more_pass_than_capacity_and_refill(
    capacity: float, per_s: float, calls: list[tuple[int, float]]
) -> None:
    meter, now, passed = Meter(at=START), START, []
    for pause, share in calls:
        now = max(now + pause, meter.at - CLOCK_TOLERANCE_US)
        if attempt(meter, rate(capacity, per_s, share * capacity), now) is None:
            passed.append((meter.at, share * capacity))

    for first in range(len(passed)):
        for (moment, _), total in zip(passed[first:], accumulate(units for _, units in passed[first:]), strict=True):
            refill = (moment - passed[first][0]) / (per_s * 1e6) * capacity
            assert total <= (capacity + refill) * (1 + DUST) + DUST * capacity


@STEADY
@given(capacity=capacities, per_s=periods, calls=st.lists(st.tuples(pauses_us, st.floats(0.0, 3.0)), max_size=30))
def test_refused_call_passes_at_the_moment_it_was_told_and_none_earlier(
    capacity: float, per_s: float, calls: list[tuple[int, float]]
) -> None:
    meter, now = Meter(at=START), START
    for pause, share in calls:
        now += pause
        wanted = rate(capacity, per_s, share * capacity)
        until = attempt(meter, wanted, now)
        if until is None:
            continue
        demand = Demand(key="k", rates=(wanted,))
        assert until > meter.clock(now)
        # A rounded division may say a microsecond too much, never too little.
        assert until - meter.clock(now) <= 1 or meter.hindrance(demand, until - 2) is not None
        assert meter.hindrance(demand, until) is None


@STEADY
@given(share=st.floats(0.1, 20.0), capacity=capacities)
def test_calls_beyond_the_capacity_keep_to_the_average_rate(share: float, capacity: float) -> None:
    meter, now, wanted = Meter(at=START), START, rate(capacity, 60.0, share * capacity)
    passed = 0
    while passed < 20:
        until = attempt(meter, wanted, now)
        passed += until is None
        now = until or now

    periods_gone = (now - START) / (60.0 * SECOND_US)
    assert 19 * share <= (1 + periods_gone) * (1 + DUST)


def test_time_further_back_than_clocks_differ_moves_the_meter_along() -> None:
    meter = Meter(at=START)
    attempt(meter, rate(10, 60.0, 10.0), START)

    assert attempt(meter, rate(10, 60.0, 1.0), START - CLOCK_TOLERANCE_US) == START + 6 * SECOND_US
    early = START - CLOCK_TOLERANCE_US - 1
    assert attempt(meter, rate(10, 60.0, 1.0), early) == early + 6 * SECOND_US


def test_told_capacity_holds_for_a_rate_that_a_demand_names_later() -> None:
    meter = Meter(at=START)
    meter.tell(Told(rate="r", capacity=5.0), START)

    attempt(meter, rate(10, 60.0, 4.0), START)
    attempt(meter, rate(10, 60.0, 0.0), START)

    assert meter.rates["r"] == Bucket(at=START, per_us=60 * SECOND_US, capacity=5.0, asked=10, debt=240.0 * SECOND_US)


def test_moments_survive_the_way_to_microseconds_and_back() -> None:
    moment = NOW + timedelta(days=10_000, microseconds=1)

    assert from_us(to_us(moment)) == moment
    assert to_us(moment) - START == 10_000 * 86_400 * SECOND_US + 1


def test_lease_is_rounded_up_to_a_microsecond() -> None:
    assert (leased(1e-9), leased(86_400.0)) == (1, 86_400 * SECOND_US)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"name": "concurrent"},
        {"name": "closed"},
        {"name": "two\nlines"},
        {"capacity": 0.0},
        {"capacity": -1.0},
        {"capacity": float("nan")},
        {"capacity": float("inf")},
        {"per_s": 0.0},
        {"per_s": float("nan")},
        {"per_s": 1e9},
        {"amount": -1.0},
        {"amount": float("nan")},
        {"amount": 1e300},
    ],
)
def test_figures_that_are_no_rate_are_refused(fields: dict[str, str | float]) -> None:
    with pytest.raises(InvalidInput, match=r"is no rate; allowed: a name .*a capacity from 1e-09 to 1e\+15"):
        Rate(**({"name": "r", "capacity": 1.0, "per_s": 1.0} | fields))  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("places", [0, -1, 10**9])
def test_number_of_places_that_is_none_is_refused(places: int) -> None:
    with pytest.raises(InvalidInput, match="is no number of places"):
        Demand(key="k", concurrent=places)


def test_demand_names_each_rate_once_and_a_key() -> None:
    with pytest.raises(InvalidInput, match="one rate stands there twice: 'r'"):
        Demand(key="k", rates=(rate(1, 1, 1), rate(2, 1, 1)))
    with pytest.raises(InvalidInput, match="a text of 0 characters is no key"):
        Demand(key="")


@pytest.mark.parametrize("wrong", [{"remaining": -1.0}, {"remaining": float("nan")}, {"capacity": 0.0}])
def test_provider_that_talks_nonsense_is_not_believed(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="rate 'r'"):
        Told(rate="r", **wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_limits_are_known_when_one_of_them_is() -> None:
    assert not RateLimits().known
    assert RateLimits(concurrent=3).known
