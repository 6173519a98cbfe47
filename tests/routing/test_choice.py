"""The choice among eligible experts, with exploration mixed in."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from crew_moe.domain.decision import Pick
from crew_moe.routing.choice import explored
from crew_moe.routing.slate import Slate
from tests.routing.given import board, decided, expert, market

SLATE = decided(board(registry=market(expert("a"), expert("b"), expert("c"), expert("d")))).candidates


def slate() -> Slate:
    assert isinstance(SLATE, Slate)
    return SLATE


def test_no_rate_leaves_the_pick_alone() -> None:
    pick = Pick(expert_id="a", propensity=1.0, reason="why")

    assert explored(pick, slate(), 0.0, Random(1)) is pick


def test_a_strategy_that_drew_lots_is_left_alone() -> None:
    pick = Pick(expert_id="a", propensity=0.5)

    assert explored(pick, slate(), 1.0, Random(1)) is pick


def test_propensity_counts_both_ways_to_an_expert() -> None:
    picks = [explored(Pick(expert_id="a", propensity=1.0), slate(), 0.4, Random(seed)) for seed in range(4000)]

    assert {pick.expert_id: pytest.approx(pick.propensity) for pick in picks} == {
        "a": 0.7,
        "b": 0.1,
        "c": 0.1,
        "d": 0.1,
    }
    for expert_id, count in Counter(pick.expert_id for pick in picks).items():
        assert count / 4000 == pytest.approx(0.7 if expert_id == "a" else 0.1, abs=0.02)


def test_a_slate_is_a_sequence_of_candidates() -> None:
    found = slate()

    assert [candidate.expert_id for candidate in found] == ["a", "b", "c", "d"]
    assert [candidate.expert_id for candidate in found[1:3]] == ["b", "c"]
    assert found[-1].provider == "acme"
