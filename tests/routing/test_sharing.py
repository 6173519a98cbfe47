"""The choice among services of one type: in proportion to weight x free places, on record, and repeatable."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.access import NO_DEMANDS, Demands
from crew_moe.domain.decision import Decision, Infeasible
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.service import Service
from crew_moe.errors import InvalidRequest
from crew_moe.routing.features import extract
from crew_moe.routing.record import replay, row_of
from crew_moe.routing.sharing import (
    DRAWN,
    ROOMIEST,
    WEIGHTED,
    Asking,
    Share,
    Sharing,
    Wanted,
    ordered,
    part_of,
    share_out,
)
from crew_moe.state.breaker import expert_key
from tests.routing.given import NOW, OPEN, POLICY, STEADY, board
from tests.state.given import service_named

FEATURES = extract(RoutingRequest(task_type="analysis"))
SHARES = st.lists(
    st.builds(Share, st.uuids().map(str), st.floats(1e-3, 1e3), st.integers(1, 1000)),
    min_size=1,
    max_size=8,
    unique_by=lambda share: share.service_id,
)


def _asked(
    *services: Service, strategy: str = WEIGHTED, wanted: int = 1, seed: int = 7, **learned: Any
) -> Decision | Infeasible:
    under_way, demands = learned.pop("under_way", {}), learned.pop("demands", NO_DEMANDS)
    return share_out(
        services,
        board(services=services, **learned),
        Asking("embedding", strategy, wanted),
        features=FEATURES,
        demands=demands,
        under_way=under_way,
        decision_id="d1",
        now=NOW,
        seed=seed,
    )


def _chosen(*services: Service, **how: Any) -> Decision:
    found = _asked(*services, **how)
    assert isinstance(found, Decision)
    return found


@pytest.mark.parametrize(
    ("given_", "asking"),
    [
        ({}, (WEIGHTED, 1)),
        ({"priority": 0.8}, (ROOMIEST, 1)),
        ({"complexity": 0.7}, (WEIGHTED, 2)),
        ({"priority": 1.0, "strategy": "adaptive"}, (ROOMIEST, 1)),
        ({"priority": 1.0, "strategy": WEIGHTED}, (WEIGHTED, 1)),
    ],
)
def test_strategy_follows_urgency_and_number_complexity(given_: dict[str, Any], asking: tuple[str, int]) -> None:
    assert Wanted("embedding", **given_).asking() == Asking("embedding", *asking)


def test_unknown_strategy_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidRequest, match="did you mean 'roomiest'"):
        Wanted("embedding", strategy="romiest").asking()


def test_parts_are_weight_times_free_places() -> None:
    small, large = service_named("a", max_capacity=10, weight=2.0), service_named("b", max_capacity=100)
    decision = _chosen(small, large, under_way={"b": 40})

    shares = {candidate.expert_id: candidate.ranking for candidate in decision.candidates}
    assert shares == {"a": pytest.approx(0.25), "b": pytest.approx(0.75)}
    assert decision.propensity == shares[decision.expert_id]


def test_draws_come_in_proportion() -> None:
    shares = [Share("a", 1.0, 10), Share("b", 3.0, 10)]
    drawn = Counter(ordered(shares, WEIGHTED, seed).service_ids[0] for seed in range(4000))

    assert drawn["b"] / 4000 == pytest.approx(0.75, abs=0.02)


def test_the_roomiest_needs_no_chance() -> None:
    services = [service_named(name, max_capacity=places) for name, places in (("a", 5), ("b", 9), ("c", 9))]
    decision = _chosen(*services, strategy=ROOMIEST)

    assert (decision.expert_id, decision.fallbacks, decision.propensity) == ("b", ("c", "a"), 1.0)


@STEADY
@given(SHARES, st.integers(0, 2**62), st.sampled_from([WEIGHTED, ROOMIEST]))
def test_the_order_holds_each_once_and_no_more_than_are_needed(shares: list[Share], seed: int, strategy: str) -> None:
    order = ordered(shares, strategy, seed)

    assert len(set(order.service_ids)) == len(order.service_ids) == min(len(shares), DRAWN)
    assert set(order.service_ids) <= {share.service_id for share in shares}
    assert order == ordered(shares, strategy, seed)
    assert 0.0 < order.propensity <= 1.0 + 1e-9
    assert sum(part_of(shares, share.service_id) for share in shares) == pytest.approx(1.0)


def test_who_is_ejected_full_or_forbidden_is_passed_over_with_its_reason() -> None:
    services = [service_named(name, max_capacity=2) for name in ("a", "b", "c", "d", "e")]
    decision = _chosen(
        *services,
        breakers={expert_key("a"): OPEN},
        busy={"b": NOW + timedelta(seconds=1)},
        under_way={"c": 2},
        demands=Demands(forbidden=frozenset({("d", "no strangers")})),
    )

    assert (decision.expert_id, decision.fallbacks, decision.propensity) == ("e", (), 1.0)
    assert [(one.expert_id, one.rule) for one in decision.rejections] == [
        ("a", "circuit_open"),
        ("b", "no_room"),
        ("c", "no_room"),
        ("d", "access"),
    ]
    assert "'no strangers'" in decision.rejections[3].detail


def test_a_breaker_whose_ejection_is_over_lets_work_pass() -> None:
    past = service_named("a")

    assert _chosen(past, breakers={expert_key("a"): OPEN.__class__(until=NOW)}).expert_id == "a"


def test_nobody_left_is_told_with_what_would_mend_soonest() -> None:
    found = _asked(service_named("a"), service_named("b"), breakers={expert_key("a"): OPEN}, under_way={"b": 100})

    assert isinstance(found, Infeasible)
    assert (found.binding, found.nearest and found.nearest.expert_id, len(found.rejections)) == ("no_room", "b", 2)
    assert found.message.startswith("infeasible: no_room; no service of type 'embedding' may serve now; nearest: b")


def test_complex_work_is_for_two() -> None:
    decision = _chosen(service_named("a"), service_named("b"), service_named("c"), wanted=2)

    assert isinstance(decision.basis, Sharing)
    assert decision.basis.selected == (decision.expert_id, decision.fallbacks[0])
    assert f"with {decision.fallbacks[0]}, for it is complex" in decision.rationale


@pytest.mark.parametrize("strategy", [WEIGHTED, ROOMIEST])
def test_the_row_repeats_the_choice(strategy: str) -> None:
    decision = _chosen(service_named("a", weight=0.3), service_named("b"), strategy=strategy, wanted=2, seed=11)
    row = row_of(decision, b"", (), b"key")

    assert replay(row, POLICY) == (decision.expert_id, decision.score, decision.propensity)
    assert (row["service_type"], row["selected_services"][0], row["ok"]) == ("embedding", decision.expert_id, True)
    assert replay({**row, "shares": [["a", 1.0, 1]]}, POLICY) != (decision.expert_id, decision.score, 0.0)


def test_it_reads_as_any_decision() -> None:
    decision = _chosen(service_named("a"))

    assert decision.as_dict()["estimated_cost_usd"] == "0"
    assert (decision.tier, decision.confidence, decision.profile_id, decision.group) == ("fast", 1.0, "a", None)
    assert decision.factors == {"room": 100.0}
    assert decision.rationale == "a for embedding; weighted: weight 1 x 100 free places; 100% of the room of 1"
