"""The program over stdio: the protocol and nothing else on stdout, read-only unless asked, a clean end."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from crew_moe.router import Router
from tests.mcp_server.running import ROOT, command, environment, over_stdio, wire
from tests.waiting import PATIENCE_S

HELLO = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}
SECRET = "the-secret-of-acme"
CHATTY = """
import os, subprocess, sys
from crew_moe import router
from crew_moe.cli import main
def chatty(self):
    print("printed")
    os.write(1, b"written\\n")
    subprocess.run(["echo", "child"], check=True)
    print("read", repr(sys.stdin.read()), file=sys.stderr)
    return ()
router.Router.health = chatty
sys.exit(main(["mcp"]))
"""


def _started(*arguments: str, program: list[str] | None = None, **variables: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        program or command(*arguments),
        cwd=ROOT,
        env=environment(**variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _lines(*messages: dict[str, Any]) -> bytes:
    return b"".join(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n" for message in messages)


def _hello() -> bytes:
    return _lines({"id": 0, "method": "initialize", "params": HELLO}, {"method": "notifications/initialized"})


def _call(number: int, tool: str, arguments: Any) -> dict[str, Any]:
    return {"id": number, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}


def _dialogue(process: subprocess.Popen[bytes], said: bytes, answers: int) -> list[dict[str, Any]]:
    """Say all of it, and read until so many answers have come, by their numbers; the line stays open."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(said)
    process.stdin.flush()
    told: dict[int, dict[str, Any]] = {}
    patience = Timer(PATIENCE_S, process.kill)
    patience.start()
    while len(told) < answers:
        line = json.loads(process.stdout.readline())
        if "id" in line:
            told[line["id"]] = line
    patience.cancel()
    return [told[number] for number in sorted(told)]


async def test_fastmcp_client(tmp_path: Path) -> None:
    async with over_stdio(log=tmp_path / "log") as client:
        tools = [tool.name for tool in await client.list_tools()]
        decided = (await client.call_tool("suggest_route", {"task_type": "planning"})).structured_content
        told = (await client.call_tool("explain_decision", {"decision_id": decided["decision_id"]})).structured_content

    assert "suggest_route" in tools
    assert "set_override" not in tools
    assert told["matches"]


async def test_official_client(tmp_path: Path) -> None:
    program, *rest = command("--enable-writes")
    parameters = StdioServerParameters(command=program, args=rest, env=environment())
    with (tmp_path / "log").open("w") as log:
        async with stdio_client(parameters, errlog=log) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            tools = wire(await session.list_tools())["tools"]
            answer = wire(await session.call_tool("suggest_route", {"task_type": "planning"}))

    assert "set_override" in {tool["name"] for tool in tools}
    assert answer["structuredContent"]["ok"]


async def test_environment_speaks_where_no_flag_does(tmp_path: Path) -> None:
    async with over_stdio(
        "--toolsets",
        "overrides",
        log=tmp_path / "log",
        CREW_MOE_MCP_ENABLE_WRITES="true",
        CREW_MOE_MCP_TOOLSETS="budget",
    ) as client:
        tools = {tool.name for tool in await client.list_tools()}

    assert tools == {"set_override", "clear_override"}


def test_stdout_is_the_protocols_whatever_prints() -> None:
    process = _started(program=[*command()[:1], "-c", CHATTY])

    answers = _dialogue(process, _hello() + _lines(_call(1, "expert_health", {})), 2)

    rest, err = process.communicate(timeout=30)
    assert [answer["id"] for answer in answers] == [0, 1]
    assert rest == b""
    assert [word in err for word in (b"printed", b"written", b"child", b"read ''")] == [True] * 4


def test_nothing_that_a_client_sends_is_written_to_stderr() -> None:
    process = _started(CREW_MOE_LOG_LEVEL="info")
    strange = [
        _call(1, "suggest_route", {"text": SECRET, "task_type": SECRET, SECRET: 1}),
        _call(2, "suggest_route", SECRET),
        {"id": 3, "method": "tools/call", "params": SECRET},
        {"id": 4, "method": SECRET, "params": {}},
        {"id": 5, "method": "resources/read", "params": {"uri": f"router://experts/{SECRET}"}},
        {"id": 6, "method": "prompts/get", "params": {"name": "triage_task", "arguments": {SECRET: SECRET}}},
        _call(7, SECRET, {}),
        {"method": "notifications/progress", "params": {"progressToken": SECRET}},
    ]

    _dialogue(process, _hello() + SECRET.encode() + b"\n" + _lines(*strange), 7)

    _, err = process.communicate(timeout=30)
    assert SECRET.encode() not in err
    assert b"Traceback" not in err
    assert b"tool_called" in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_in_order(number: signal.Signals, tmp_path: Path) -> None:
    process = _started("--state", f"sqlite:///{tmp_path / 'state.db'}")
    answers = _dialogue(process, _hello() + _lines(_call(1, "suggest_route", {"task_type": "planning"})), 2)

    process.send_signal(number)

    assert process.wait(timeout=30) == 0
    process.communicate()
    decision_id = answers[1]["result"]["structuredContent"]["decision_id"]
    with Router.from_config(state=f"sqlite:///{tmp_path / 'state.db'}") as router:
        assert router.explain(decision_id).matches


async def test_fastmcp_json_starts_it(tmp_path: Path) -> None:
    from fastmcp import Client
    from fastmcp.client.transports import StdioTransport

    arguments = ["-m", "fastmcp.cli", "run", "fastmcp.json", "--skip-env", "--no-banner"]
    transport = StdioTransport(
        command()[0], arguments, env=environment(), cwd=str(ROOT), log_file=tmp_path / "log", keep_alive=False
    )
    async with Client(transport) as client:
        assert "suggest_route" in {tool.name for tool in await client.list_tools()}
