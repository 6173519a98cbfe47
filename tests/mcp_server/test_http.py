"""The server over HTTP: real clients, requests that stand alone, strangers turned away."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from fastmcp import Client
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from crew_moe.router import Router
from crew_moe.surface.rates import RateLimit, Rates
from tests.mcp_server.running import ROOT, command, environment, listening, server_of, wire

ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
PLAN = {"name": "suggest_route", "arguments": {"task_type": "planning"}}
LOOPBACK = "127.0.0.1"


@pytest.fixture
def url(router: Router) -> Iterator[str]:
    with listening(server_of(router)) as address:
        yield address


def _post(url: str, params: Any = PLAN, **headers: str) -> httpx.Response:
    return httpx.post(url, json={**CALL, "params": params}, headers={**ACCEPT, **headers})


async def test_fastmcp_client(url: str) -> None:
    async with Client(url) as client:
        assert (await client.call_tool(PLAN["name"], PLAN["arguments"])).structured_content["ok"]
        assert len(await client.list_prompts()) == 2
        assert len(await client.list_resources()) == 2


async def test_official_client(url: str) -> None:
    async with streamable_http_client(url) as streams, ClientSession(*streams[:2]) as session:
        await session.initialize()
        tools = wire(await session.list_tools())["tools"]
        answer = wire(await session.call_tool("suggest_route", {"task_type": "plannin"}))

    assert "suggest_route" in {tool["name"] for tool in tools}
    assert answer["isError"]
    assert answer["_meta"]["error"]["closest"] == "planning"


def test_request_stands_alone(router: Router) -> None:
    """What one replica decided, another explains, without a session of either."""
    with ExitStack() as stack:
        replicas = [stack.enter_context(listening(server_of(router))) for _ in range(2)]
        decided = _post(replicas[0])
        decision_id = decided.text.partition('"decision_id":"')[2].partition('"')[0]
        explained = _post(replicas[1], {"name": "explain_decision", "arguments": {"decision_id": decision_id}})

    assert "mcp-session-id" not in decided.headers
    assert '"matches":true' in explained.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "localhost"}, 200),
        ({}, 200),
    ],
)
def test_strangers_hosts_and_origins_are_refused(url: str, headers: dict[str, str], status: int) -> None:
    assert _post(url, **headers).status_code == status


def test_named_host_is_let_in(router: Router) -> None:
    with listening(server_of(router), hosts=("moe.example",)) as url:
        assert _post(url, Host="moe.example").status_code == 200


@pytest.mark.parametrize("path", ["/", "/mcp/../", "/docs", "/health", "/sse"])
def test_there_is_nothing_else(url: str, path: str) -> None:
    assert httpx.get(url.replace("/mcp", path)).status_code in {404, 405}


def test_caller_is_held_to_its_number_of_requests(router: Router) -> None:
    rates = Rates.open(RateLimit(3, 3600))
    with listening(server_of(router, rates=rates)) as url:
        told = [_post(url).text for _ in range(4)]
        listed = httpx.post(url, json={**CALL, "method": "tools/list"}, headers=ACCEPT).text

    assert [("rate_limited" in answer) for answer in told] == [False, False, False, True]
    assert '"retry_after_s":' in told[-1]
    assert "rate_limited: more than 3 requests in 3600 s" in listed


def test_program_serves_and_ends_in_order() -> None:
    process = subprocess.Popen(
        command("--transport", "http", "--port", "0"),
        cwd=ROOT,
        env=environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stderr is not None
    line = process.stderr.readline().decode()
    url = line.removeprefix("MCP at ").strip()

    status = _post(url).status_code
    os.kill(process.pid, signal.SIGTERM)

    out, err = process.communicate(timeout=30)
    assert (status, process.returncode, out, err) == (200, 0, b"", b"")
    assert url.startswith(f"http://{LOOPBACK}:")
