"""The chances of a choice: those that it is drawn with, told from the row of the log or for another policy."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from crew_moe.domain.decision import Decision
from crew_moe.domain.insight import Insight
from crew_moe.domain.policy import Exploration, Policy
from crew_moe.domain.request import RoutingRequest
from crew_moe.routing import Board, decide
from crew_moe.routing.record import chances_in, identity_of, row_of
from crew_moe.routing.redeciding import Bench, beside, chances_of, demands_of
from tests.routing.asking import boards, requests
from tests.routing.given import EXPLORING, NOW, POLICY, REGISTRY, STEADY, board

INSIGHT = Insight(mean={"gpt-4o": 0.9, "o1": 0.85}, width={"gpt-4o": 0.1, "o1": 0.1})
ASKED = RoutingRequest(task_type="planning", text="x" * 100)


def logged(policy: Policy, request: RoutingRequest = ASKED, seed: int = 7, on: Board | None = None) -> dict[str, Any]:
    """The row of a decision under a policy, as a store gives it back."""
    found = decide(
        request,
        on or board(policy=policy),
        decision_id="d-1",
        now=NOW,
        new_seed=lambda: seed,
        insight=INSIGHT,
    )
    row: dict[str, Any] = json.loads(json.dumps(row_of(found, b"", identity_of(request), b"k", beside(request))))
    return row


@STEADY
@given(requests(), boards())
def test_row_tells_the_chance_of_its_own_choice(request: RoutingRequest, on: Board) -> None:
    row = logged(EXPLORING, request, on=replace(on, policy=EXPLORING))
    if not row["ok"] or row["group"] is not None:
        assert chances_in(row, EXPLORING) == {}
        return

    told = chances_in(row, EXPLORING)

    assert told[row["expert_id"]] == pytest.approx(row["propensity"])
    assert sum(told.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("strategy", ["score", "rule", "linucb", "lints", "epsilon_greedy", "squarecb"])
def test_chances_are_how_often_each_is_taken(strategy: str) -> None:
    policy = replace(POLICY, version="p@1", strategy=strategy, exploration=Exploration(rate=0.4))
    told = chances_in(logged(policy), policy)
    rows = [logged(policy, seed=seed) for seed in range(400)]

    counts = Counter(row["expert_id"] for row in rows)

    seeded = strategy == "lints"  # its chances are those of the seed's own draws
    assert set(counts) <= set(told) or seeded
    for expert_id, chance in told.items():
        assert counts[expert_id] / 400 == pytest.approx(chance, abs=0.1 if seeded else 0.07)


@pytest.mark.parametrize("strategy", ["score", "rule", "linucb", "lints", "epsilon_greedy", "squarecb"])
def test_made_again_the_chances_are_those_of_the_policy(strategy: str) -> None:
    policy = replace(POLICY, version="p@1", strategy=strategy, exploration=Exploration(rate=0.4))
    row = logged(policy)

    found = Bench.of(REGISTRY, policy).decide(row, demands_of(row), None)

    assert isinstance(found, Decision)
    assert chances_of(found, None) == pytest.approx(chances_in(row, policy))


def test_strategy_that_read_another_policy_is_not_guessed() -> None:
    policy = replace(POLICY, version="p@1", strategy="squarecb")

    assert chances_in(logged(policy), replace(policy, version="p@2")) == {}


def test_row_that_contradicts_itself_tells_nothing() -> None:
    policy = replace(POLICY, version="p@1", strategy="squarecb")
    row = logged(policy)

    assert chances_in({**row, "propensity": row["propensity"] / 2}, policy) == {}


def test_certain_choices_are_certain() -> None:
    row = logged(POLICY)

    assert chances_in(row, POLICY) == {row["expert_id"]: 1.0}
    found = Bench.of(REGISTRY, POLICY).decide(row, demands_of(row), None)
    assert isinstance(found, Decision)
    assert chances_of(found, None) == {row["expert_id"]: 1.0}
