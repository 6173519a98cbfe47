"""A call ends when its client cancels it or hangs up, and by no word about somebody else's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from threading import Event
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastmcp import Client

from crew_moe.auth.caller import ALL_SCOPES
from crew_moe.crew.crew_run import CrewRun, End
from crew_moe.errors import CrewCancelled
from crew_moe.router import Router
from mcp_server.cancelling import MAX_SLOW, Running
from mcp_server.exposure import Exposure
from mcp_server.tools import Toolset
from tests.auth.issuing import authenticator, bearer, token
from tests.mcp_server.running import listening, server_of
from tests.waiting import until

ACCEPT = {"Accept": "application/json, text/event-stream"}
CALL = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "execute_crew", "arguments": {}}}
WORD = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
NOTHING: Any = SimpleNamespace(tasks=(), cost_usd=Decimal(0), fallbacks=0)


class Patient:
    """In the place of a project: works until it is stopped, or let go."""

    def __init__(self) -> None:
        self.started: list[Event] = []
        self.let_go = Event()
        self.ended: list[End] = []

    def run(self, _: Any, *, cancel: Event, **__: Any) -> CrewRun:
        self.started.append(cancel)
        until(lambda: cancel.is_set() or self.let_go.is_set())
        self.ended.append(End.CANCELLED if cancel.is_set() else End.FINISHED)
        error = CrewCancelled() if cancel.is_set() else None
        return CrewRun(run_id="r", output=None, error=error, routing={}, report=NOTHING)


@pytest.fixture
def project() -> Patient:
    return Patient()


@pytest.fixture
def exposure(project: Patient) -> Exposure:
    return Exposure(writes=True, toolsets=frozenset(Toolset), project=project)  # type: ignore[arg-type]


async def _soon(condition: Any) -> None:
    await asyncio.to_thread(until, condition)


@asynccontextmanager
async def _calls(url: str, *credentials: str | None) -> AsyncIterator[list[Any]]:
    """One client for each credential, with a call under way in each."""
    async with httpx.AsyncClient(headers=ACCEPT, timeout=30) as client:
        headers = [{} if one is None else {"Authorization": bearer(one)} for one in credentials]
        calls = [asyncio.create_task(client.post(url, json=CALL, headers=one)) for one in headers]
        yield calls
        await asyncio.gather(*calls)


async def _say(url: str, credential: str | None = None) -> int:
    async with httpx.AsyncClient(headers=ACCEPT) as client:
        headers = {} if credential is None else {"Authorization": bearer(credential)}
        return (await client.post(url, json=WORD, headers=headers)).status_code


async def test_cancelled_in_memory(router: Router, project: Patient, exposure: Exposure) -> None:
    async with Client(server_of(router, exposure)) as client:
        waiting = asyncio.create_task(client.call_tool("execute_crew", {}))
        await _soon(lambda: project.started)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    await _soon(lambda: project.ended)
    assert project.ended == [End.CANCELLED]


async def test_hanging_up_stops_the_call(router: Router, project: Patient, exposure: Exposure) -> None:
    with listening(server_of(router, exposure)) as url:
        async with httpx.AsyncClient() as client, client.stream("POST", url, json=CALL, headers=ACCEPT):
            await _soon(lambda: project.started)
        await _soon(lambda: project.ended)

    assert project.ended == [End.CANCELLED]


async def test_word_stops_the_call(router: Router, project: Patient, exposure: Exposure) -> None:
    with listening(server_of(router, exposure)) as url:
        async with _calls(url, None):
            await _soon(lambda: project.started)
            assert await _say(url) == 202

    assert project.ended == [End.CANCELLED]


async def test_word_about_one_of_two_stops_none(router: Router, project: Patient, exposure: Exposure) -> None:
    with listening(server_of(router, exposure)) as url:
        async with _calls(url, None, None):
            await _soon(lambda: len(project.started) == 2)
            await _say(url)
            project.let_go.set()

    assert project.ended == [End.FINISHED] * 2


async def test_word_of_another_caller_stops_nothing(
    router: Router, project: Patient, exposure: Exposure, tmp_path: Any
) -> None:
    mine, theirs = (token(sub=name, scope=" ".join(ALL_SCOPES)) for name in ("me", "them"))
    with listening(server_of(router, exposure, authenticator=authenticator(tmp_path))) as url:
        async with _calls(url, mine):
            await _soon(lambda: project.started)
            told = [await _say(url, theirs), await _say(url)]
            project.let_go.set()

    assert told == [202, 401]
    assert project.ended == [End.FINISHED]


async def test_crews_leave_room_for_other_tools(router: Router, project: Patient, exposure: Exposure) -> None:
    async with Client(server_of(router, exposure)) as client:
        waiting = [asyncio.create_task(client.call_tool("execute_crew", {})) for _ in range(MAX_SLOW + 40)]
        await _soon(lambda: len(project.started) == MAX_SLOW)
        listed: Any = await client.call_tool("list_experts", {"limit": 1})
        project.let_go.set()
        await asyncio.gather(*waiting)

    assert listed.structured_content["total"]
    assert len(project.ended) == MAX_SLOW + 40


def test_nothing_is_kept_of_calls_that_are_over() -> None:
    running, stop = Running(), Event()

    with running.going_on("me", "7", stop):
        running.stop("me", "8")
        assert not stop.is_set()
    running.stop("me", "7")

    assert not stop.is_set()
    assert vars(running)["_stops"] == {}
