"""Projects for tests: a folder with two tasks of one agent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from crew_moe.sim import Simulation

AGENTS: Final = """
writer:
  role: Writer
  goal: Write well
  backstory: Years of practice
  verbose: %s
"""
TASKS: Final = """
draft:
  description: Write about {topic}. The sea is deep. The sea is blue.
  expected_output: Words
  agent: writer
  routing: {tier: fast%s}
polish:
  description: Polish the text about {topic}.
  expected_output: Words
  agent: writer
  routing: {tier: baseline%s}
"""
SEA: Final = {"topic": "the sea"}


def writing(folder: Path) -> Callable[..., Path]:
    """Writes a project there; gives its folder."""

    def write(tasks: str = TASKS % ("", ""), agents: str = AGENTS % "false") -> Path:
        folder.mkdir(exist_ok=True)
        (folder / "agents.yaml").write_text(agents, encoding="utf-8")
        (folder / "tasks.yaml").write_text(tasks, encoding="utf-8")
        return folder

    return write


def said(sim: Simulation, index: int = 0) -> str:
    """All that reached the provider with one request."""
    return json.dumps(list(sim.requests[index].messages))
