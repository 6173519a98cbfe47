"""A crew of two tasks in a folder, and simulated providers that take their time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from crew_moe.crew.project import Project
from crew_moe.router import Router
from crew_moe.sim import Simulation, simulate
from crew_moe.telemetry.events import Recorder
from mcp_server.exposure import Exposure
from mcp_server.server import RouterServer
from mcp_server.tools import Toolset
from tests.mcp_server.running import server_of

# Read when crewai is imported, so set before.
os.environ.setdefault("CREWAI_STORAGE_DIR", tempfile.mkdtemp(prefix="crew-moe-tests-"))

AGENTS: Final = "writer:\n  role: Writer\n  goal: Write well\n  backstory: Years of practice\n  verbose: true\n"
TASKS: Final = """
draft:
  description: Write about {topic}. The sea is deep. The sea is blue.
  expected_output: Words
  agent: writer
  routing: {tier: fast}
polish:
  description: Polish the text about {topic}.
  expected_output: Words
  agent: writer
  routing: {tier: baseline}
"""
SEA: Final = {"inputs": {"topic": "the sea"}}


def written(folder: Path) -> Path:
    """The folder, with the crew in it."""
    (folder / "agents.yaml").write_text(AGENTS, encoding="utf-8")
    (folder / "tasks.yaml").write_text(TASKS, encoding="utf-8")
    return folder


@contextmanager
def crew_server(folder: Path, *, latency_ms: int = 0) -> Iterator[tuple[RouterServer, Simulation, Router]]:
    """A server that may run the crew, over providers that take so long for every answer."""
    with (
        simulate({"rules": [{"latency_ms": latency_ms}]}, speed=0) as sim,
        Router.from_config(state=":memory:", base_url=sim.base_url, sink=Recorder()) as router,
    ):
        project = Project(router, written(folder))
        exposure = Exposure(writes=True, toolsets=frozenset(Toolset), project=project)
        yield server_of(router, exposure), sim, router
