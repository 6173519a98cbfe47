"""What a client is shown: small, truthful, the same as last time, and no more than was switched on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastmcp import Client

from crew_moe.auth.caller import AccessScope
from crew_moe.router import Router
from mcp_server.exposure import Exposure
from mcp_server.tools import TOOLS, Toolset
from tests.mcp_server.running import server_of, wire
from tests.mcp_server.snapshots import EVERYTHING, kept, seen

BUDGET_BYTES = 12_000
READERS = ["suggest_route", "list_experts", "expert_health", "explain_decision", "simulate_policy", "budget_status"]
WRITERS = {"record_outcome", "set_override", "clear_override"}
SCOPES = {
    **dict.fromkeys(READERS, AccessScope.READ),
    "record_outcome": AccessScope.REPORT,
    "execute_crew": AccessScope.EXECUTE,
    "set_override": AccessScope.ADMIN,
    "clear_override": AccessScope.ADMIN,
}


@pytest.fixture
async def whole(router: Router) -> AsyncIterator[Client[Any]]:
    """A client that sees all tools."""
    async with Client(server_of(router, EVERYTHING)) as connected:
        yield connected


async def _names(router: Router, exposure: Exposure) -> list[str]:
    async with Client(server_of(router, exposure)) as client:
        return [tool.name for tool in await client.list_tools()]


def test_there_are_ten_tools_and_each_has_its_scope() -> None:
    assert {row.name: row.scope for row in TOOLS} == SCOPES


async def test_the_whole_list_stays_within_its_budget(whole: Client[Any]) -> None:
    listed = wire(await whole.list_tools_mcp())

    assert len(json.dumps(listed, separators=(",", ":")).encode()) < BUDGET_BYTES


async def test_nothing_has_changed_since_somebody_looked(whole: Client[Any]) -> None:
    assert await seen(whole) == kept(), "if it is meant: python -m tests.mcp_server.snapshots"


@pytest.mark.parametrize("row", TOOLS, ids=lambda row: row.name)
def test_tool_says_what_it_does_and_when_to_use_it(row: Any) -> None:
    reads = row.scope is AccessScope.READ

    assert row.effect.read_only is reads
    assert not (reads and row.effect.destructive)
    assert "Use " in row.description
    assert row.notes.keys() | row.hidden <= row.takes.model_fields.keys()
    assert not row.notes.keys() & row.hidden


async def test_by_default_nothing_can_be_changed(router: Router) -> None:
    assert await _names(router, Exposure()) == READERS


async def test_writes_are_offered_when_they_are_enabled(router: Router) -> None:
    assert set(await _names(router, Exposure(writes=True))) == {*READERS, *WRITERS}


@pytest.mark.parametrize(
    ("exposure", "names"),
    [
        (Exposure(toolsets=frozenset({Toolset.BUDGET})), ["budget_status"]),
        (Exposure(toolsets=frozenset({Toolset.OVERRIDES})), []),
        (Exposure(writes=True, toolsets=frozenset({Toolset.OVERRIDES})), ["set_override", "clear_override"]),
        (Exposure(writes=True, toolsets=frozenset({Toolset.CREW})), []),
        (Exposure(toolsets=frozenset(Toolset), project=EVERYTHING.project), READERS),
    ],
)
async def test_toolsets_choose(router: Router, exposure: Exposure, names: list[str]) -> None:
    assert await _names(router, exposure) == names


async def test_hidden_tool_can_not_be_called(router: Router) -> None:
    async with Client(server_of(router, Exposure())) as client:
        answer = await client.call_tool("set_override", {"expert_id": "o1"}, raise_on_error=False)

    assert answer.is_error
    assert router.stats()["pins"] == []
