"""Real crews against simulated providers: what every test of the crew layer shares."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Read when crewai is imported, so set before.
os.environ.setdefault("CREWAI_STORAGE_DIR", tempfile.mkdtemp(prefix="crew-moe-tests-"))

from crewai import Agent, Crew, Task

from crew_moe.router import Router
from crew_moe.sim import Simulation, simulate
from tests.crew.guarded import Ruled, ruling
from tests.crew.projects import writing


@pytest.fixture(scope="session")
def providers() -> Iterator[Simulation]:
    """Simulated providers for the whole session; `sim` gives them to a test alive and with nothing queued."""
    with simulate(speed=0) as simulation:
        yield simulation


@pytest.fixture
def sim() -> Iterator[Simulation]:
    with simulate(speed=0) as simulation:
        yield simulation


@pytest.fixture
def router(sim: Simulation) -> Iterator[Router]:
    with Router.from_config(state=":memory:", base_url=sim.base_url) as made:
        yield made


@pytest.fixture
def agent() -> Callable[..., Agent]:
    def make(role: str = "Analyst", **fields: Any) -> Agent:
        return Agent(**{"role": role, "goal": "Do it well", "backstory": "Years of practice", **fields})

    return make


@pytest.fixture
def task() -> Callable[..., Task]:
    def make(name: str, agent: Agent | None = None, **fields: Any) -> Task:
        fields.setdefault("description", f"Analyse the figures of {name}")
        return Task(name=name, expected_output="Three points", agent=agent, **fields)

    return make


@pytest.fixture
def crew(agent: Callable[..., Agent], task: Callable[..., Task]) -> Crew:
    """One agent, two tasks."""
    analyst = agent()
    return Crew(agents=[analyst], tasks=[task("first", analyst), task("second", analyst)])


@pytest.fixture
def routing(tmp_path: Path) -> Callable[[str], Path]:
    """Write a sidecar routing.yaml; gives its path."""

    def write(text: str) -> Path:
        path = tmp_path / "routing.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def ruled(tmp_path: Path, sim: Simulation) -> Iterator[Ruled]:
    """Makes routers over the simulated providers, each under a policy of its own."""
    with ruling(tmp_path, sim.base_url) as make:
        yield make


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes a project of two tasks; gives its folder."""
    return writing(tmp_path / "project")
