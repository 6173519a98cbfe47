"""Each tool answers what its operation says, in its schema."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from fastmcp import Client

from crew_moe.domain.request import RoutingRequest
from crew_moe.router import Router
from tests.mcp_server.running import wire

Mcp = Client[Any]
PLAN = {"task_type": "planning", "text": "Plan the move of a warehouse."}


async def _ask(client: Mcp, tool: str, **arguments: Any) -> dict[str, Any]:
    told = (await client.call_tool(tool, arguments)).structured_content
    assert told is not None
    return told


async def test_suggestion_is_the_routers_decision(client: Mcp, router: Router) -> None:
    told = await _ask(client, "suggest_route", **PLAN)

    recorded = router.explain(told["decision_id"])
    assert (told["ok"], told["expert_id"]) == (True, recorded.row["expert_id"])
    assert told["fallbacks"] == recorded.row["fallbacks"]
    assert told["rationale"] == recorded.rationale


async def test_suggestion_takes_every_field_of_a_request(client: Mcp) -> None:
    hidden = {"seed": 7, "session_key": "s", "parallel": {"experts": 3}, "critical": True, "modality": "text"}

    told = await _ask(client, "suggest_route", **PLAN, **hidden, requires=["tools"], budget_usd=0.5)

    assert told["ok"]


async def test_null_is_what_was_left_out(client: Mcp) -> None:
    nothing = dict.fromkeys(("context_tokens", "requires", "pii", "tenant", "min_quality"))

    told = await _ask(client, "suggest_route", **PLAN, **nothing)

    assert told["ok"]


async def test_what_nobody_can_serve_is_an_answer(client: Mcp) -> None:
    told = await _ask(client, "suggest_route", **PLAN, min_quality=0.99, budget_usd="0.000001")

    assert (told["ok"], told["expert_id"]) == (False, None)
    assert told["binding"] in {"min_quality", "budget_usd"}
    assert told["nearest"]


async def test_experts_come_by_pages_that_neither_repeat_nor_skip(client: Mcp, router: Router) -> None:
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await _ask(client, "list_experts", limit=5, fields=["tier"], **cursor)
        seen += [row["expert_id"] for row in page["experts"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}

    assert seen == [expert.expert_id for expert in router.registry]
    assert page["total"] == len(seen)


async def test_experts_have_the_fields_that_were_asked_for(client: Mcp) -> None:
    page = await _ask(client, "list_experts", fields=["tier", "quality"], tier="fast")

    assert {tuple(sorted(row)) for row in page["experts"]} == {("expert_id", "quality", "tier")}
    assert {row["tier"] for row in page["experts"]} == {"fast"}


async def test_health_tells_what_was_recorded(client: Mcp) -> None:
    decided = await _ask(client, "suggest_route", **PLAN)
    outcome = {"decision_id": decided["decision_id"], "expert_id": decided["expert_id"]}
    await _ask(client, "record_outcome", **outcome, success=True, latency_ms=321, cost_usd="0.002")

    told = await _ask(client, "expert_health", expert_id=decided["expert_id"])

    (row,) = told["experts"]
    assert (row["success_rate"], row["latency_ms"], row["cost_usd"]) == (1.0, 321.0, 0.002)
    assert (row["breaker"], round(row["samples"])) == ("closed", 1)


async def test_outcome_counts_once(client: Mcp) -> None:
    decided = await _ask(client, "suggest_route", **PLAN)
    outcome = {"decision_id": decided["decision_id"], "expert_id": decided["expert_id"], "success": False}

    told = [await _ask(client, "record_outcome", **outcome) for _ in range(2)]

    assert [row["recorded"] for row in told] == [True, False]


async def test_explanation_tells_who_was_rejected_and_what_came_of_it(client: Mcp) -> None:
    decided = await _ask(client, "suggest_route", **PLAN)
    outcome = {"decision_id": decided["decision_id"], "expert_id": decided["expert_id"]}
    await _ask(client, "record_outcome", **outcome, success=False, error="timeout")

    told = await _ask(client, "explain_decision", decision_id=decided["decision_id"])

    assert (told["expert_id"], told["matches"], told["served_by"]) == (decided["expert_id"], True, None)
    assert told["served"][0]["error"] == "timeout"
    assert {row["rule"] for row in told["rejections"]} >= {"enabled"}


@pytest.mark.parametrize("more", [{}, {"min_quality": 1.0}], ids=["served", "infeasible"])
async def test_decision_of_a_batch_is_explained(client: Mcp, router: Router, more: dict[str, Any]) -> None:
    (decided,) = router.decide_batch([RoutingRequest.model_validate({**PLAN, **more})])

    told = await _ask(client, "explain_decision", decision_id=decided.decision_id)

    assert (told["decision_id"], told["ok"], told["rejections"]) == (decided.decision_id, decided.ok, [])


async def test_infeasible_decision_is_explained(client: Mcp) -> None:
    decided = await _ask(client, "suggest_route", **PLAN, min_quality=1.0)

    told = await _ask(client, "explain_decision", decision_id=decided["decision_id"])

    assert (told["ok"], told["expert_id"], told["matches"]) == (False, None, None)
    assert told["rationale"] == decided["rationale"]


async def test_budgets_show_what_is_spent_and_left(client: Mcp, router: Router) -> None:
    router.budgets.set("tenant:acme", "5", window="month")
    router.guards.ledger.reserve(("tenant:acme",), usd="2")

    (scope,) = (await _ask(client, "budget_status", scope="tenant:acme"))["scopes"]

    assert (scope["limit_usd"], scope["reserved_usd"], scope["available_usd"]) == ("5", "2", "3")


async def test_override_decides_until_it_is_cleared(client: Mcp) -> None:
    await _ask(client, "set_override", expert_id="o1", task_type="planning", minutes=5, reason="incident")
    pinned = await _ask(client, "suggest_route", **PLAN)

    cleared = await _ask(client, "clear_override", task_type="planning")

    assert pinned["expert_id"] == "o1"
    assert cleared["removed"] == 1
    assert (await _ask(client, "suggest_route", **PLAN))["expert_id"] != "o1"


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("suggest_route", PLAN),
        ("suggest_route", {**PLAN, "min_quality": 1.0}),
        ("list_experts", {}),
        ("expert_health", {}),
        ("budget_status", {}),
        ("set_override", {"expert_id": "o1"}),
        ("clear_override", {"everything": True}),
    ],
)
async def test_answer_fits_its_schema_and_its_text(client: Mcp, tool: str, arguments: dict[str, Any]) -> None:
    schemas = {one.name: wire(one)["outputSchema"] for one in await client.list_tools()}

    answer: Any = await client.call_tool(tool, arguments)

    jsonschema.validate(answer.structured_content, schemas[tool])
    assert json.loads(answer.content[0].text) == answer.structured_content
    assert answer.structured_content["schema_version"] == "1"
