"""Hard rules, one by one: whom each turns away, and what it says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from crew_moe.domain.snapshot import Breaker, Circuit
from crew_moe.routing.eligibility import BUDGET, CONTEXT, PRECEDENCE, STATIC
from tests.routing.given import NOW, OPEN, board, decided, expert, market, pin, refused, rules


def test_every_rule_has_a_place_in_the_order() -> None:
    assert sorted(PRECEDENCE) == sorted([*(constraint.name for constraint in STATIC), BUDGET, CONTEXT])


@pytest.mark.parametrize(
    ("fields", "turned_away", "rule"),
    [
        ({}, "local/ollama", "enabled"),
        ({}, "local/extractive", "named_only"),
        ({"residency": "eu"}, "gpt-4o", "residency"),
        ({"pii": "local_only"}, "gpt-4o", "local_only"),
        ({"risk": "high"}, "mistral-small-4", "moderation"),
        ({"budget_usd": "0.001"}, "claude-opus-4", "budget_usd"),
        ({"requires": ["vision"]}, "command-r", "capability"),
        ({"text": "日本語で書く"}, "local/extractive", "named_only"),
        ({"context_tokens": 150_000}, "gpt-4o", "capability"),
        ({"context_tokens": 40_000}, "mistral-small-2", "context_window"),
        ({"tier": "fast"}, "gpt-4o", "tier"),
        ({"max_tier": "baseline"}, "gpt-5", "tier"),
        ({"min_quality": 0.9}, "command-r", "min_quality"),
        ({"max_latency_ms": 500}, "o1", "max_latency_ms"),
        ({"profile": "quick-draft"}, "gpt-4o", "profile"),
        ({"pin": "gpt-5"}, "gpt-4o", "pin"),
    ],
)
def test_a_rule_turns_away_by_name(fields: dict[str, Any], turned_away: str, rule: str) -> None:
    found = decided(**fields) if "pii" not in fields else decided(**{**fields, "task_type": "tool_use"})

    assert rules(found)[turned_away] == rule
    assert next(row for row in found.rejections if row.expert_id == turned_away).detail


def test_retired_and_keyless_experts_stay_out_of_calls_alone() -> None:
    live = board(live=True, without_credentials=frozenset({"gpt-4o"}))

    assert rules(decided(live))["claude-opus-4"] == "retired"
    assert rules(decided(live))["gpt-4o"] == "no_credentials"
    assert {"claude-opus-4", "gpt-4o"}.isdisjoint(rules(decided()))


@pytest.mark.parametrize("key", ["expert:gpt-4o", "provider:openai"])
def test_open_circuit_removes_expert(key: str) -> None:
    assert rules(decided(board(breakers={key: OPEN})))["gpt-4o"] == "circuit_open"


def test_an_ejection_that_is_over_lets_the_expert_in_again() -> None:
    over = Breaker(state=Circuit.OPEN, until=NOW - timedelta(seconds=1))

    assert "gpt-4o" not in rules(decided(board(breakers={"expert:gpt-4o": over})))


def test_a_local_expert_serves_what_may_not_leave() -> None:
    assert decided(pii="local_only", task_type="tool_use").expert_id == "local/auto"
    assert decided(preferred_providers=["local"], pin="local/extractive").expert_id == "local/extractive"


def test_a_ceiling_widens_the_wanted_tier_upwards() -> None:
    found = decided(tier="fast", max_tier="premium")

    assert found.tier == "fast"
    assert {candidate.tier for candidate in found.candidates} == {"fast", "baseline", "premium"}


def test_a_higher_tier_serves_when_the_wanted_one_can_not() -> None:
    assert decided(tier="fast", max_tier="premium", min_quality=0.95).tier == "premium"


def test_a_pin_wins_over_a_better_fallback() -> None:
    weak, strong = expert("weak", quality=0.5), expert("strong", quality=0.99)
    on = board(registry=market(weak, strong))

    found = decided(on, pin="weak", fallbacks=["strong"])

    assert (found.expert_id, found.fallbacks) == ("weak", ("strong",))
    assert decided(on, strategy="rule", pin="weak", fallbacks=["strong"]).expert_id == "weak"


def test_a_profile_wins_over_a_better_fallback() -> None:
    assert decided(profile="quick-draft", fallbacks=["claude-sonnet-4"]).expert_id == "gpt-4o-mini"


def test_a_named_fallback_serves_when_the_pinned_expert_can_not() -> None:
    found = decided(pin="command-r", fallbacks=["gpt-4o"], min_quality=0.9)

    assert (found.expert_id, found.fallbacks) == ("gpt-4o", ())


def test_a_last_resort_that_is_named_as_a_fallback_is_never_the_first_choice() -> None:
    last = expert("last", named_only=True, quality=1.0)
    on = board(registry=market(expert("plain", quality=0.1), last))

    found = decided(on, fallbacks=["last"])

    assert (found.expert_id, found.fallbacks) == ("plain", ("last",))
    assert decided(on, fallbacks=["last"], min_quality=0.5).expert_id == "last"


@pytest.mark.parametrize(
    ("pins", "wanted"),
    [
        ([pin("gpt-4o")], "gpt-4o"),
        ([pin("gpt-4o"), pin("gpt-5", created_at=NOW + timedelta(seconds=1))], "gpt-5"),
        ([pin("gpt-4o", task_type="planning"), pin("gpt-5", tenant="a")], "gpt-4o"),
        ([pin("gpt-4o", task_type="planning"), pin("gpt-5", task="first")], "gpt-5"),
        ([pin("gpt-4o", tenant="b"), pin("gpt-5", tenant="a")], "gpt-5"),
        ([pin("gpt-4o", expires_at=NOW), pin("gpt-5")], "gpt-5"),
    ],
)
def test_the_narrowest_pin_wins_then_the_newest(pins: list[object], wanted: str) -> None:
    assert decided(board(pins=tuple(pins)), tenant="a", task="first").expert_id == wanted


def test_the_request_s_own_pin_wins_over_one_set_by_hand() -> None:
    assert decided(board(pins=(pin("gpt-4o"),)), pin="gpt-5").expert_id == "gpt-5"


def test_a_pin_does_not_lift_the_other_rules() -> None:
    found = refused(pin="command-r", min_quality=0.9)

    assert (found.binding, found.nearest and found.nearest.expert_id) == ("min_quality", "command-r")
