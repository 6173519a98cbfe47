"""The MCP server for clients that are not ours: npm's Inspector and conformance suite, CrewAI, and another fastmcp."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("CREWAI_STORAGE_DIR", tempfile.mkdtemp(prefix="crew-moe-tests-"))

from crew_moe import Decision, Router, RoutingRequest
from tests.acceptance.mcp_asking import ASKED
from tests.acceptance.mcp_peers import ROOT, crewai_adapter, node_tools, other_fastmcp
from tests.mcp_server.running import command, environment, listening, server_of

pytestmark = pytest.mark.accept

BASELINE = Path(__file__).with_name("mcp_conformance.yaml")
ADAPTED = """
import sys
from crewai_tools import MCPServerAdapter
from mcp import StdioServerParameters
from tests.acceptance.mcp_asking import answer
program, *rest = sys.argv[1:]
with MCPServerAdapter(StdioServerParameters(command=program, args=rest)) as tools:
    print("SAID", answer(tools=tools))
"""


@pytest.fixture
def router() -> Iterator[Router]:
    with Router.from_config(state=":memory:") as made:
        yield made


@pytest.fixture
def url(router: Router) -> Iterator[str]:
    with listening(server_of(router)) as address:
        yield address


def _inspected(*arguments: str) -> dict[str, Any]:
    """What the Inspector's command line prints."""
    programs, variables = node_tools()
    inspector = [str(programs / "mcp-inspector"), "--cli", *arguments]
    done = subprocess.run(inspector, cwd=ROOT, env=dict(variables), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _chosen(router: Router) -> str:
    decided = router.decide(RoutingRequest.model_validate(ASKED))
    assert isinstance(decided, Decision)
    return decided.expert_id


def test_inspector_over_http(url: str) -> None:
    listed = _inspected(url, "--transport", "http", "--method", "tools/list")
    call = ("--method", "tools/call", "--tool-name", "suggest_route", "--tool-arg", "task_type=planning")
    answer = _inspected(url, "--transport", "http", *call)

    assert "set_override" in {tool["name"] for tool in listed["tools"]}
    assert answer["structuredContent"]["ok"]


def test_inspector_over_stdio() -> None:
    read = ("--method", "resources/read", "--uri", "router://experts/gpt-4o")
    answer = _inspected(*command(), *read)

    assert json.loads(answer["contents"][0]["text"])["expert"]["expert_id"] == "gpt-4o"


def test_conformance_suite(url: str, tmp_path: Path) -> None:
    programs, variables = node_tools()
    suite = [str(programs / "conformance"), "server", "--url", url, "--expected-failures", str(BASELINE)]

    done = subprocess.run(suite, cwd=tmp_path, env=dict(variables), capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-3000:]


def test_agent_of_crewai_asks_over_stdio(router: Router) -> None:
    from crewai.mcp import MCPServerStdio

    from tests.acceptance.mcp_asking import answer

    program, *rest = command()

    said = answer(mcps=[MCPServerStdio(command=program, args=rest, env=environment())])

    assert said == _chosen(router)


def test_adapter_of_crewai_asks_over_stdio(router: Router) -> None:
    found = os.pathsep.join((str(crewai_adapter()), str(ROOT)))
    program = [sys.executable, "-W", "ignore", "-c", ADAPTED, *command()]

    done = subprocess.run(
        program, cwd=ROOT, env={**os.environ, "PYTHONPATH": found}, capture_output=True, text=True, check=False
    )

    assert f"SAID {_chosen(router)}\n" in done.stdout, done.stderr[-3000:]


def test_server_passes_its_tests_on_another_fastmcp() -> None:
    tests = [str(other_fastmcp()), "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/mcp_server"]

    done = subprocess.run(tests, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-3000:]
