"""Crews of concurrent agents under a storm of failures: nobody ever sees their money pass its limit."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

os.environ.setdefault("CREWAI_STORAGE_DIR", tempfile.mkdtemp(prefix="crew-moe-tests-"))

from crew_moe.crew import attach, report
from crew_moe.crew.refusals import TaskFailed, TaskRefused
from crew_moe.domain.expert import Capability
from crew_moe.execution import cashier
from crew_moe.ports import Ledger
from crew_moe.router import Router
from crew_moe.sim import Simulation, simulate
from crew_moe.state import open_ledger
from crew_moe.telemetry.events import Recorder
from tests.acceptance.crew_child import ENDED, ROUTING, TENANT, team_of
from tests.crew.guarded import calling, ends, scopes, watched
from tests.waiting import until

pytestmark = pytest.mark.accept

ROOT: Final = Path(__file__).parents[2]
LIMIT: Final = "0.05"
AGENTS: Final = 8
CALLS: Final = 400
FAULTS: Final = (500, 503, 429, "timeout", "reset", "malformed")
HASTY: Final = """
limits: {max_retry_after_ms: 0}
breaker: {failures: 50}
tiers: {fast: {attempt_timeout_ms: 100}, baseline: {attempt_timeout_ms: 100}, premium: {attempt_timeout_ms: 100}}
"""


def storm(seed: int, share: float = 0.4) -> dict[str, Any]:
    """A script in which this share of the calls fails, each in its own way."""
    rng = Random(seed)
    struck = (number for number in range(1, CALLS) if rng.random() < share)
    return {"rules": [{"error": rng.choice(FAULTS), "from_call": one, "to_call": one} for one in struck]}


@contextmanager
def storming(seed: int) -> Iterator[Simulation]:
    """Providers in a storm, whose experts call tools."""
    with simulate(storm(seed), speed=0) as running:
        for expert in running.registry:
            if Capability.TOOLS in expert.capabilities:
                calling(running, expert.expert_id, 4)
        yield running


@pytest.fixture(params=["sqlite", "redis"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        url: str = request.getfixturevalue("redis_url")
        return url
    return f"sqlite:///{tmp_path}/state.db"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "policy.yaml").write_text(HASTY, encoding="utf-8")
    (folder / "routing.yaml").write_text(ROUTING, encoding="utf-8")
    return folder


@pytest.fixture
def reader(state: str) -> Iterator[Ledger]:
    """Somebody who only looks."""
    ledger = open_ledger(state)
    yield ledger
    ledger.close()


def adds_up(reader: Ledger, known: Decimal) -> bool:
    """Whether the run holds nothing any more, and was charged what calls cost and what nobody knows of the others."""
    (scope,) = scopes(reader)
    return scope.reserved_usd == 0 and known + scope.lapsed_usd == scope.settled_usd


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_run_never_passes_its_budget_whatever_fails(
    seed: int, state: str, config: Path, reader: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cashier, "GRACE_S", 0.2)
    with (
        storming(seed) as sim,
        Router.from_config(config, state=state, base_url=sim.base_url, sink=Recorder()) as router,
    ):
        crew = attach(team_of(AGENTS), config / "routing.yaml", router=router, budget_usd=LIMIT)
        with watched(reader, LIMIT) as passed:
            error = ends(crew)
            until(lambda: adds_up(reader, report(crew).cost_usd))  # once the other agents' leases have ended
    (scope,) = scopes(reader)
    assert passed == []
    assert error is None or isinstance(error, TaskFailed | TaskRefused)
    assert (scope.limit_usd, scope.overrun_usd) == (Decimal(LIMIT), Decimal(0))
    assert 0 < scope.settled_usd <= Decimal(LIMIT)
    assert any(request.fault for request in sim.requests)


def side_by_side(count: int, *arguments: str) -> list[tuple[str, Decimal]]:
    """How the crews of so many processes ended, and what each has cost."""
    command = [sys.executable, "-m", "tests.acceptance.crew_child", *arguments]
    children = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    lines = [line for child in children for line in child.communicate()[0].splitlines() if line.startswith(ENDED)]
    assert [child.returncode for child in children] == [0] * count
    return [(how, Decimal(cost)) for _, how, cost in map(str.split, lines)]


def test_processes_share_the_limit_of_their_tenant(state: str, config: Path, reader: Ledger) -> None:
    reader.set_limit(f"tenant:{TENANT}", usd=LIMIT, window="month")
    with storming(4) as sim, watched(reader, LIMIT, "tenant") as passed:
        told = side_by_side(2, state, str(sim.base_url), str(config))
    assert passed == []
    assert {how for how, _ in told} <= {"done", "TaskFailed", "TaskRefused"}
    (scope,) = scopes(reader, "tenant")
    spent = scope.settled_usd + scope.reserved_usd
    assert sum((cost for _, cost in told), Decimal(0)) <= spent <= Decimal(LIMIT)
