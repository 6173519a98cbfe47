"""The demonstration crew under every outage: it finishes exactly when each task has an eligible expert alive."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import pytest

from crew_moe import Decision, ExecutionFailed, Router, RoutingRequest
from crew_moe.catalog.locate import packaged_config, packaged_documents
from crew_moe.cli.approvers import Standing
from crew_moe.crew import AgentFactory, load_plan, report
from crew_moe.sim import Simulation, simulate

PROVIDERS = ("anthropic", "openai", "google", "mistral", "cohere")
SUBSETS = [frozenset(dead) for size in range(1, 6) for dead in combinations(PROVIDERS, size)]
TASKS = ("triage", "analyse", "audit", "contacts", "brief")

pytestmark = pytest.mark.accept


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulation]:
    with simulate(speed=0) as running:
        yield running


@pytest.fixture(scope="module")
def served_by(sim: Simulation) -> dict[str, set[str]]:
    """By task, the providers of its eligible experts."""
    plan = load_plan(packaged_config())
    with Router.from_config(state=":memory:", base_url=sim.base_url) as router:
        found = {}
        for task in TASKS:
            decision = router.decide(RoutingRequest(**plan.block(task=task).request_fields(), context_tokens=4000))
            assert isinstance(decision, Decision)
            found[task] = {candidate.provider for candidate in decision.candidates}
        return found


@pytest.mark.parametrize("dead", SUBSETS, ids=lambda dead: "+".join(sorted(dead)))
def test_the_crew_finishes_when_every_task_has_somebody_alive(
    dead: frozenset[str], sim: Simulation, served_by: dict[str, set[str]]
) -> None:
    text = next(packaged_documents().glob("*.md")).read_text(encoding="utf-8")
    for provider in dead:
        sim.kill(provider)
    try:
        with Router.from_config(state=":memory:", base_url=sim.base_url) as router:
            desk = router.guards.desk
            desk.attach(Standing(desk=desk, approve=True, name="officer", why="every audit is approved here"))
            crew = AgentFactory(router).build_crew(packaged_config())
            if all(providers - dead for providers in served_by.values()):
                assert str(crew.kickoff(inputs={"document": text}))
                assert [row.task for row in report(crew).tasks] == list(TASKS)
            else:
                with pytest.raises(ExecutionFailed) as failed:
                    crew.kickoff(inputs={"document": text})
                assert {router.registry[row.expert_id].provider for row in failed.value.attempts} <= dead
    finally:
        for provider in dead:
            sim.revive(provider)
