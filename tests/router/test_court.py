"""The chances that a candidate policy would have given each expert, in decisions of a real router."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from crew_moe import Router
from crew_moe.catalog.policy import read_policy
from crew_moe.gating.past import Names
from crew_moe.simulation import Court, Reason, newest
from crew_moe.strategies import STRATEGIES
from tests.router.given import decided, router


def chances(on: Router, document: Mapping[str, Any]) -> Mapping[str, float] | Reason:
    """Those of the newest decision under this document."""
    policy = read_policy(document, on.registry, STRATEGIES, cedar=on.policy.cedar)
    court = Court(policy, on.policy, on.registry, Names(key=on.log_key, lasting=True))
    return court.chances(newest(on.log, 1)[0])


def test_certain_pick_and_its_exploration() -> None:
    three = [{"name": "three", "only": {"ids": ["gpt-4o", "o1", "gpt-5"]}}]
    with router() as on:
        decided(on)
        certain = chances(on, {"access": three})
        explored = chances(on, {"access": three, "exploration": {"rate": 0.3}})

    assert isinstance(certain, Mapping)
    assert isinstance(explored, Mapping)
    (pick,) = certain
    assert explored == pytest.approx({"gpt-4o": 0.1, "o1": 0.1, "gpt-5": 0.1, pick: 0.8})


def test_candidate_that_serves_nobody_has_no_chances() -> None:
    with router() as on:
        decided(on, min_quality=0.95)
        told = chances(on, {"access": [{"name": "cheap", "only": {"ids": ["gpt-4o-mini"]}}]})

    assert told == {}


@pytest.mark.parametrize("strategy", ["learned", "linucb", "squarecb"])
def test_predictions_that_were_not_made_are_not_made_up(strategy: str) -> None:
    with router() as on:
        decided(on)
        told = chances(on, {"strategy": strategy})

    assert told is Reason.NOT_PREDICTED


def test_what_can_not_be_made_again_keeps_its_reason() -> None:
    with router() as on:
        decided(on, user="anna")
        told = chances(on, {"access": [{"name": "staff", "who": {"roles": ["x"]}, "forbid": {"ids": ["o1"]}}]})

    assert told is Reason.WHO_ASKED
