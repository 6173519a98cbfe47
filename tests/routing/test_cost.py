"""Predicted cost: tokens by task type, prices of the catalogue, usage from experience."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.policy import Profile
from crew_moe.routing.cost import cost_range, return_on_cost
from tests.routing.given import POLICY, STEADY, board, decided, expert, market, record, rules


def test_the_expected_cost_is_tokens_times_prices() -> None:
    found = decided(task_type="code_generation", pin="claude-haiku-4")

    # 200 tokens of scaffolding at 0.25 and the least output of 300 at 1.25 US$ per million
    assert found.estimated_cost_usd == Decimal("0.000425")


def test_the_range_is_thirty_percent_each_way() -> None:
    found = decided(task_type="code_generation", pin="claude-haiku-4").cost

    assert (found.min_usd, found.max_usd) == (Decimal("0.0002975"), Decimal("0.0005525"))
    assert cost_range(1000.0, 0.3).max_usd == Decimal("0.0000013")


@pytest.mark.parametrize(("context", "output"), [(0, 300), (1_000, 1_500), (100_000, 4_000)])
def test_output_is_predicted_by_the_task_s_multiplier_within_its_bounds(context: int, output: int) -> None:
    one = expert(input_usd_per_mtok=Decimal(0), output_usd_per_mtok=Decimal(1))

    found = decided(board(registry=market(one)), task_type="code_generation", context_tokens=context)

    assert found.estimated_cost_usd == Decimal(output) / 1_000_000


def test_max_output_tokens_caps_the_prediction() -> None:
    one = expert(input_usd_per_mtok=Decimal(0), output_usd_per_mtok=Decimal(1))

    found = decided(board(registry=market(one)), task_type="code_generation", max_output_tokens=7)

    assert found.estimated_cost_usd == Decimal("0.000007")


def test_a_profile_caps_output_and_budget() -> None:
    assert "claude-opus-4" not in rules(decided(profile="careful-review"))
    profile = POLICY.profiles["quick-draft"]
    assert profile.budget_usd == Decimal("0.01")

    found = decided(profile="quick-draft", context_tokens=20_000, budget_usd=1)

    assert found.cost.max_usd <= profile.budget_usd
    assert found.profile_id == "quick-draft"


def test_a_profile_without_limits_sets_none() -> None:
    profile = Profile(profile_id="bare", version="1", expert_id="command-r")
    on = board(policy=replace(POLICY, profiles={"bare": profile}))

    found = decided(on, profile="bare", budget_usd=1, max_output_tokens=100)

    assert (found.profile_id, found.expert_id) == ("bare", "command-r")
    assert found.cost == decided(pin="command-r", budget_usd=1, max_output_tokens=100).cost


def test_known_usage_draws_the_prediction_towards_it() -> None:
    one = expert(input_usd_per_mtok=Decimal(0), output_usd_per_mtok=Decimal(1))
    learned = {("one", "code_generation"): record(output_tokens=1_000.0)}

    found = decided(board(registry=market(one), performance=learned), task_type="code_generation")

    # (10 x 300 + 100 x 1,000) / 110
    assert float(found.estimated_cost_usd) == pytest.approx(103_000 / 110 / 1e6, rel=1e-6)


@STEADY
@given(st.floats(0, 1), st.floats(1, 1e6), st.floats(0, 1e6), st.floats(1e-9, 1e6))
def test_return_on_cost_is_finite_and_best_when_free(quality: float, latency: float, cost: float, ref: float) -> None:
    found = return_on_cost(quality, latency, cost, ref)

    assert 0.0 <= found <= quality + 1e-12
    assert found <= return_on_cost(quality, latency, 0.0, ref)
