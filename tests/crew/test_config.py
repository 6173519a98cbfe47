"""The `routing:` block: every key, and an error for everything else."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from crew_moe.crew.config import RoutingBlock, check_names, parse_block, routing_schema
from crew_moe.domain.expert import Capability
from crew_moe.domain.request import RoutingRequest
from crew_moe.errors import ConfigError, NotAvailable
from crew_moe.router import Router

WHOLE: dict[str, Any] = {
    "task_type": "security_audit",
    "tier": "premium",
    "max_tier": "premium",
    "min_quality": 0.95,
    "budget_usd": 0.15,
    "max_latency_ms": 8000,
    "deadline_ms": 60000,
    "requires": ["tools", "json"],
    "data": {"residency": "eu", "pii": "local_only"},
    "risk": "high",
    "urgency": "high",
    "strategy": "score",
    "profile": None,
    "parallel": None,
    "verify": None,
    "fallbacks": ["claude-sonnet-4"],
    "pin": None,
    "approval": None,
    "preferred_providers": ["openai"],
    "max_output_tokens": 900,
    "critical": True,
    "tenant": "acme",
    "project": "shop",
}


def test_every_key_reaches_the_request() -> None:
    block = RoutingBlock.model_validate(parse_block(WHOLE, file="tasks.yaml", key="audit.routing"))
    request = RoutingRequest(text="x", **block.request_fields())
    assert request.budget_usd == Decimal("0.15")
    assert request.requires == {Capability.TOOLS, Capability.JSON}
    assert (request.residency, request.pii) == ("eu", "local_only")
    assert (request.tenant, request.project, request.critical) == ("acme", "shop", True)
    assert request.fallbacks == ("claude-sonnet-4",)


def test_empty_block_asks_for_nothing() -> None:
    assert parse_block(None, file="f", key="k") == {}
    fields = RoutingBlock().request_fields()
    assert fields == {"requires": frozenset(), "residency": None, "pii": "allow"}


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"teir": "fast"}, "tasks.yaml: audit.routing: unknown field 'teir'; did you mean 'tier'?"),
        ({"tier": "fastest"}, "audit.routing.tier: 'fastest' is not one of the allowed values; did you mean 'fast'?"),
        ({"min_quality": 1.5}, "audit.routing.min_quality"),
        ({"min_quality": float("nan")}, "audit.routing.min_quality"),
        ({"budget_usd": -1}, "audit.routing.budget_usd"),
        ({"budget_usd": "much"}, "audit.routing.budget_usd"),
        ({"requires": ["tool"]}, "did you mean 'tools'?"),
        ({"data": {"residensy": "eu"}}, "unknown field 'residensy'; did you mean 'residency'?"),
        ({"task_type": "securty_audit"}, "did you mean 'security_audit'?"),
        ({"deadline_ms": 0}, "audit.routing.deadline_ms"),
        ({"verify": {}}, "name at least one check"),
        ("premium", "a routing block must be a mapping"),
    ],
)
def test_wrong_block_is_told_with_its_place(block: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_block(block, file="tasks.yaml", key="audit.routing")
    assert message in str(caught.value)
    assert caught.value.file == "tasks.yaml"


@pytest.mark.parametrize(
    ("block", "feature"),
    [
        ({"parallel": "auto"}, "parallel"),
        ({"parallel": {"experts": 3, "consensus": "judge"}}, "parallel"),
        ({"verify": {"min_chars": 20}}, "verify"),
    ],
)
def test_what_can_not_run_yet_is_refused_by_name(block: object, feature: str) -> None:
    with pytest.raises(NotAvailable) as caught:
        parse_block(block, file="tasks.yaml", key="audit.routing")
    assert caught.value.feature == feature
    assert "tasks.yaml: audit.routing" in str(caught.value)


@pytest.mark.parametrize("block", [{"parallel": False}, {"parallel": None}, {"data": {"pii": "allow"}}])
def test_what_is_switched_off_is_no_error(block: object) -> None:
    assert parse_block(block, file="f", key="k") == block


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"pin": "gpt-40"}, "k.pin: unknown expert 'gpt-40'; did you mean 'gpt-4o'?"),
        ({"fallbacks": ["o1", "o2"]}, "k.fallbacks: unknown expert 'o2'"),
        ({"preferred_providers": ["opnai"]}, "unknown provider 'opnai'; did you mean 'openai'?"),
        ({"profile": "lean"}, "unknown profile 'lean'"),
        ({"strategy": "scoer"}, "unknown strategy 'scoer'; did you mean 'score'?"),
    ],
)
def test_unknown_names_are_told_with_the_closest(block: dict[str, Any], message: str, router: Router) -> None:
    with pytest.raises(ConfigError) as caught:
        check_names(block, router.registry, router.policy, file="f", key="k")
    assert message in str(caught.value)


def test_schema_accepts_what_the_parser_accepts() -> None:
    schema = routing_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    assert validator.is_valid(WHOLE)
    assert not validator.is_valid({"teir": "fast"})
    assert set(schema["properties"]) == set(WHOLE)
