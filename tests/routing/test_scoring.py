"""The seven factors, one at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crew_moe.routing.scoring import scaled
from tests.routing.given import POLICY, board, decided, expert, market, record

SCALE = 100 / 105


def factors(**given: Any) -> dict[str, float]:
    asked = given.pop("asked", {})
    return dict(decided(board(registry=market(expert()), **given), **asked).factors)


def test_weights_are_scaled_to_a_hundred() -> None:
    assert POLICY.weights.total == 105
    assert scaled(POLICY.weights).total == pytest.approx(100, abs=1e-12)
    assert scaled(replace(POLICY.weights, quality=0.0)).total == pytest.approx(100, abs=1e-12)


def test_quality_earns_its_share_of_fifty() -> None:
    assert factors()["quality"] == pytest.approx(0.9 * 50 * SCALE)


def test_history_is_the_assumed_reliability_until_there_is_a_record() -> None:
    seen = {("one", "planning"): record(success_rate=0.5)}

    assert factors()["history"] == pytest.approx(0.9 * 15 * SCALE)
    assert factors(performance=seen)["history"] == pytest.approx((20 * 0.9 + 100 * 0.5) / 120 * 15 * SCALE)


def test_history_of_another_task_type_does_not_count() -> None:
    assert factors(performance={("one", "testing"): record(success_rate=0.0)}) == factors()


def test_learning_is_the_prior_until_feedback_came() -> None:
    assert factors()["learning"] == pytest.approx(0.5 * 10 * SCALE)
    assert factors(performance={("one", "planning"): record(learned=1.0)})["learning"] == pytest.approx(10 * SCALE)


def test_a_share_of_the_calls_costs_diversity() -> None:
    assert factors()["diversity"] == pytest.approx(3 * SCALE)
    assert factors(provider_share={"acme": 0.75})["diversity"] == pytest.approx(0.25 * 3 * SCALE)


def test_a_preferred_provider_earns_two_points() -> None:
    assert factors()["provider"] == 0.0
    assert factors(asked={"preferred_providers": ["acme"]})["provider"] == pytest.approx(2 * SCALE)


def test_preference_falls_by_a_quarter_per_place() -> None:
    ranked = POLICY.tasks["planning"].preferred  # type: ignore[index]  # task types are strings
    earned = [decided(pin=name).factors["preference"] for name in ranked]

    assert earned == pytest.approx([5 * SCALE, 3.75 * SCALE, 2.5 * SCALE])


def test_a_tight_budget_prefers_the_budget_experts() -> None:
    def preference(budget: str) -> float:
        return decided(pin="claude-haiku-4", task_type="testing", budget_usd=budget).factors["preference"]

    assert preference("0.005") == pytest.approx(5 * SCALE)
    assert preference("0.0051") == 0.0
