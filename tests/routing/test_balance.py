"""Weights that even the load out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.routing.balance import LEAST, Bearer, balance_of, due, jain, rebalanced, score, weights_for
from crew_moe.state.breaker import expert_key
from tests.routing.given import OPEN, STEADY, board, record
from tests.state.given import service_named

EVEN = Bearer(service_id="a", capacity=10, weight=1.0, calls=100.0, latency_ms=100.0, success=1.0)
BEARERS = st.lists(
    st.builds(
        Bearer,
        service_id=st.uuids().map(str),
        capacity=st.integers(1, 1000),
        weight=st.floats(1e-3, 1e3),
        calls=st.floats(0.0, 1e6),
        latency_ms=st.floats(0.0, 1e5),
        success=st.floats(0.0, 1.0),
        up=st.booleans(),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda one: one.service_id,
)


def _pair(**second: Any) -> list[Bearer]:
    return [EVEN, replace(EVEN, service_id="b", **second)]


def test_equals_get_equal_weights() -> None:
    assert weights_for(_pair()) == {"a": 1.0, "b": 1.0}
    assert score(_pair()) == 1.0


def test_places_speed_and_success_make_what_is_due() -> None:
    assert due(_pair(capacity=30)) == pytest.approx({"a": 0.25, "b": 0.75})
    assert due(_pair(latency_ms=300.0)) == pytest.approx({"a": 0.75, "b": 0.25})
    assert due(_pair(success=0.25)) == pytest.approx({"a": 0.8, "b": 0.2})


def test_capacity_is_in_the_routing_already_and_weights_a_place_alone() -> None:
    fresh = [replace(one, calls=0.0) for one in _pair(capacity=30)]

    assert weights_for(fresh) == {"a": pytest.approx(1.0), "b": pytest.approx(1.0)}


def test_who_had_more_than_its_due_gets_less_from_now_on() -> None:
    weights = weights_for(_pair(calls=300.0))

    assert weights["a"] > 1.0 > weights["b"] > 0.0


def test_few_calls_say_little() -> None:
    few = weights_for([replace(one, calls=one.calls / 100) for one in _pair(calls=300.0)])

    assert 1.0 > few["b"] > 0.85


def test_who_does_not_answer_keeps_a_small_part() -> None:
    weights = weights_for([replace(one, calls=0.0) for one in _pair(up=False)])

    assert weights["b"] / weights["a"] == pytest.approx(LEAST)


def test_rebalancing_twice_does_no_more_than_once() -> None:
    uneven = _pair(calls=900.0, latency_ms=250.0)
    once = weights_for(uneven)

    assert weights_for([replace(one, weight=once[one.service_id]) for one in uneven]) == once


def test_uneven_load_is_evened_out() -> None:
    uneven = _pair(calls=300.0)

    assert score(uneven) < 0.85
    assert score(uneven, weights_for(uneven)) > 0.95


@STEADY
@given(BEARERS)
def test_weights_are_positive_with_a_mean_of_one(bearers: list[Bearer]) -> None:
    weights = weights_for(bearers)

    assert set(weights) == {one.service_id for one in bearers}
    assert min(weights.values()) > 0.0
    assert sum(weights.values()) / len(weights) == pytest.approx(1.0)


@STEADY
@given(BEARERS)
def test_scores_lie_between_one_bears_all_and_all_bear_the_same(bearers: list[Bearer]) -> None:
    for found in (score(bearers), score(bearers, weights_for(bearers))):
        assert 1.0 / len(bearers) - 1e-9 <= found <= 1.0 + 1e-9


@STEADY
@given(BEARERS.map(lambda bearers: [replace(one, up=True, calls=0.0, success=1.0) for one in bearers]))
def test_without_a_record_the_new_weights_are_even_to_the_last(bearers: list[Bearer]) -> None:
    assert score(bearers, weights_for(bearers)) == pytest.approx(1.0)


def test_jain_of_nothing_is_even() -> None:
    assert (jain([]), jain([0.0, 0.0]), jain([1.0, 0.0, 0.0, 0.0])) == (1.0, 1.0, 0.25)


def test_types_and_owners_are_balanced_apart() -> None:
    services = (
        service_named("a"),
        service_named("b", tenant="acme"),
        service_named("c", service_type="storage"),
        service_named("d"),
    )
    done = rebalanced(services, board(services=services), {"a": True, "d": False})

    assert [(one.service_type, one.tenant, sorted(one.after)) for one in done] == [
        ("embedding", None, ["a", "d"]),
        ("embedding", "acme", ["b"]),
        ("storage", None, ["c"]),
    ]
    assert (done[0].healthy, done[1].healthy) == ({"a": True, "d": False}, {})
    assert done[0].after["a"] > done[0].after["d"]


def test_records_and_breakers_count() -> None:
    services = (service_named("a"), service_named("b"), service_named("c"))
    slow = {("a", "analysis"): record(latency_ms=4000.0, success_rate=1.0)}
    learned = board(services=services, performance=slow, breakers={expert_key("c"): OPEN})
    (done,) = rebalanced(services, learned, {})

    assert done.after["b"] > done.after["a"]
    assert done.after["b"] > done.after["c"]
    assert done.score_after > done.score_before
    assert done.before == {"a": 1.0, "b": 1.0, "c": 1.0}


def test_score_of_a_board_is_the_mean_of_its_types() -> None:
    services = (service_named("a"), service_named("b"), service_named("c", service_type="storage"))
    busy = {("a", "analysis"): record(latency_ms=1000.0)}

    assert balance_of(board()) == 1.0
    assert balance_of(board(services=services)) == 1.0
    assert 0.75 < balance_of(board(services=services, performance=busy)) < 1.0
