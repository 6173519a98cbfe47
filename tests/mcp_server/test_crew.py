"""execute_crew: a real crew for a client, told of task by task, and stopped before its next call when nobody waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("crewai")

from fastmcp import Client

from crew_moe.errors import InvalidInput
from crew_moe.router import Router
from crew_moe.settings import Settings
from crew_moe.sim import Simulation
from mcp_server.exposure import exposure_of
from mcp_server.server import RouterServer
from tests.mcp_server.projects import SEA, crew_server, written
from tests.mcp_server.running import listening
from tests.waiting import until

Parts = tuple[RouterServer, Simulation, Router]
ACCEPT = {"Accept": "application/json, text/event-stream"}
CREW = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "execute_crew", "arguments": SEA}}


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Parts]:
    with crew_server(tmp_path) as parts:
        yield parts


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Parts]:
    """Providers that take half a second for every answer."""
    with crew_server(tmp_path, latency_ms=500) as parts:
        yield parts


def _ended(router: Router) -> bool:
    return any(event == "crew_run_ended" for event, _ in router.sink.events)  # type: ignore[attr-defined]


async def test_crew_runs_and_tells_what_it_cost(quick: Parts) -> None:
    server, sim, _ = quick
    async with Client(server) as client:
        told: Any = (await client.call_tool("execute_crew", {**SEA, "budget_usd": "1"})).structured_content

    assert (told["ok"], told["end"], told["error"]) == (True, "finished", None)
    assert told["output"]
    assert [row["task"] for row in told["tasks"]] == ["draft", "polish"]
    assert len(sim.requests) == 2


async def test_progress_comes_task_by_task(quick: Parts) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def hear(done: float, total: float | None, message: str | None) -> None:
        heard.append((done, total, message))

    async with Client(quick[0], progress_handler=hear) as client:
        await client.call_tool("execute_crew", SEA)

    assert heard == [
        (0, 2, "draft started"),
        (1, 2, "draft finished"),
        (1, 2, "polish started"),
        (2, 2, "polish finished"),
    ]


async def test_progress_comes_over_http_too(quick: Parts) -> None:
    heard: list[str | None] = []

    async def hear(_: float, __: float | None, message: str | None) -> None:
        heard.append(message)

    with listening(quick[0]) as url:
        async with Client(url, progress_handler=hear) as client:
            await client.call_tool("execute_crew", SEA)

    assert len(heard) == 4


async def test_budget_of_the_call_is_kept(quick: Parts) -> None:
    async with Client(quick[0]) as client:
        told: Any = (await client.call_tool("execute_crew", {**SEA, "budget_usd": "0.0000001"})).structured_content

    assert (told["ok"], told["end"], told["output"]) == (False, "over_budget", None)
    assert quick[1].requests == []


@pytest.mark.parametrize("inputs", [{}, {"topic": "x", "other": "y"}, {"topic": ["x"]}])
async def test_wrong_inputs_are_told(quick: Parts, inputs: dict[str, Any]) -> None:
    async with Client(quick[0]) as client:
        answer: Any = await client.call_tool("execute_crew", {"inputs": inputs}, raise_on_error=False)

    assert answer.is_error
    assert "topic" in answer.content[0].text
    assert quick[1].requests == []


async def test_crews_chatter_is_swallowed(quick: Parts, capfd: pytest.CaptureFixture[str]) -> None:
    async with Client(quick[0]) as client:
        await client.call_tool("execute_crew", SEA)

    assert capfd.readouterr().out == ""


@asynccontextmanager
async def _first_call_made(sim: Simulation) -> AsyncIterator[None]:
    await asyncio.to_thread(until, lambda: len(sim.requests) == 1)
    yield


async def test_cancelled_call_makes_no_further_call(slow: Parts) -> None:
    server, sim, router = slow
    async with Client(server) as client:
        number = client.session._request_id
        waiting = asyncio.create_task(client.call_tool("execute_crew", SEA))
        async with _first_call_made(sim):
            await client.cancel(number, "changed my mind")
        with pytest.raises(Exception, match="cancelled"):
            await waiting
        await asyncio.to_thread(until, lambda: _ended(router))

    assert len(sim.requests) == 1


async def test_closed_connection_makes_no_further_call(slow: Parts) -> None:
    server, sim, router = slow
    with listening(server) as url:
        async with httpx.AsyncClient() as client, client.stream("POST", url, json=CREW, headers=ACCEPT):
            await asyncio.to_thread(until, lambda: len(sim.requests) == 1)
        await asyncio.to_thread(until, lambda: _ended(router))

    assert len(sim.requests) == 1


async def test_word_of_the_client_over_http_makes_no_further_call(slow: Parts) -> None:
    server, sim, router = slow
    word = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
    with listening(server) as url:
        async with httpx.AsyncClient(headers=ACCEPT, timeout=30) as client:
            waiting = asyncio.create_task(client.post(url, json=CREW))
            await asyncio.to_thread(until, lambda: len(sim.requests) == 1)
            taken = await client.post(url, json=word)
            answer = await waiting

    assert taken.status_code == 202
    assert json.loads(answer.text.rpartition("data: ")[2])["result"]["structuredContent"]["end"] == "cancelled"
    assert _ended(router)
    assert len(sim.requests) == 1


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        (Settings(mcp_toolsets="crew"), "--enable-writes"),
        (Settings(mcp_toolsets="crew", mcp_enable_writes=True), "--project DIR"),
        (Settings(mcp_toolsets="crw"), "crew"),
    ],
)
def test_crew_is_never_offered_by_half(quick: Parts, settings: Settings, what: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        exposure_of(settings, quick[2])

    assert what in raised.value.allowed


def test_crew_is_offered_when_it_is_asked_for_outright(quick: Parts, tmp_path: Path) -> None:
    asked = Settings(mcp_toolsets="crew,budget", mcp_enable_writes=True, mcp_project=written(tmp_path))

    assert [row.name for row in exposure_of(asked, quick[2]).rows()] == ["budget_status", "execute_crew"]
    assert exposure_of(Settings(mcp_enable_writes=True, mcp_project=tmp_path), quick[2]).project is None
