"""`rule`: the first that matches decides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crew_moe.domain.policy import Match, Rule
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.task import TaskType
from crew_moe.routing.features import extract
from crew_moe.strategies.rule import matches
from tests.routing.given import POLICY, board, decided


def under(*rules: Rule, **asked: Any) -> tuple[str, str]:
    """(expert, why) under a policy of these rules."""
    found = decided(board(policy=replace(POLICY, strategy="rule", rules=rules)), **asked)
    return found.expert_id, found.rationale


ANY = Match()
PLANS = Match(task_types=frozenset({TaskType.PLANNING}))


def test_the_first_rule_that_matches_decides() -> None:
    first = Rule(name="plans", when=PLANS, use=("command-r",))
    second = Rule(name="all", when=ANY, use=("gpt-4o",))

    assert under(first, second)[0] == "command-r"
    assert under(first, second, task_type="testing")[0] == "gpt-4o"
    assert "rule 'plans'" in under(first, second)[1]


def test_an_ineligible_expert_of_a_rule_is_passed_over() -> None:
    best_first = Rule(name="all", when=ANY, use=("o1", "gpt-5"))

    assert under(best_first, max_latency_ms=2_000)[0] == "gpt-5"


def test_a_rule_whose_experts_are_all_out_gives_way_to_the_next() -> None:
    out = Rule(name="out", when=ANY, use=("local/ollama",))

    assert under(out, Rule(name="all", when=ANY, use=("gpt-4o",)))[0] == "gpt-4o"


def test_without_a_matching_rule_the_best_score_serves_and_says_so() -> None:
    expert_id, why = under(Rule(name="none", when=Match(has_code=True), use=("command-r",)))

    assert expert_id == decided().expert_id
    assert "no rule names an eligible expert" in why


@pytest.mark.parametrize(
    ("when", "asked", "holds"),
    [
        ({}, {}, True),
        ({"task_types": {"planning"}}, {}, True),
        ({"task_types": {"testing"}}, {}, False),
        ({"tiers": {"fast"}}, {"tier": "fast"}, True),
        ({"tiers": {"fast"}}, {}, False),
        ({"risks": {"high"}}, {"risk": "high"}, True),
        ({"risks": {"high"}}, {"risk": "low"}, False),
        ({"urgencies": {"high"}}, {"urgency": "low"}, False),
        ({"scripts": {"Cyrl"}}, {"text": "Привет"}, True),
        ({"scripts": {"Cyrl"}}, {"text": "hello"}, False),
        ({"tenants": {"a"}}, {"tenant": "a"}, True),
        ({"tenants": {"a"}}, {"tenant": "b"}, False),
        ({"min_input_tokens": 100}, {"context_tokens": 100}, True),
        ({"min_input_tokens": 100}, {"context_tokens": 99}, False),
        ({"max_input_tokens": 100}, {"context_tokens": 100}, True),
        ({"max_input_tokens": 100}, {"context_tokens": 101}, False),
        ({"has_code": True}, {"text": "import os"}, True),
        ({"has_code": False}, {"text": "import os"}, False),
        ({"task_types": {"planning"}, "risks": {"high"}}, {"risk": "low"}, False),
    ],
)
def test_all_conditions_that_are_set_must_hold(when: dict[str, Any], asked: dict[str, Any], holds: bool) -> None:
    frozen: dict[str, Any] = {
        name: frozenset(value) if isinstance(value, set) else value for name, value in when.items()
    }
    match = Match(**frozen)
    request = RoutingRequest(**{"task_type": "planning", **asked})

    assert matches(match, extract(request), request.tier, request.tenant) is holds


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"risk": "high"}, "claude-opus-4"),
        ({"context_tokens": 200_000}, "gemini-pro-1.5"),
        ({"urgency": "high"}, "claude-haiku-4-5"),
        ({"task_type": "testing"}, "claude-sonnet-4"),
        ({}, "gpt-4o"),
    ],
)
def test_the_packaged_rules_choose(asked: dict[str, Any], wanted: str) -> None:
    assert decided(strategy="rule", **asked).expert_id == wanted
