"""Whose money a crew spends: that of its run, of the runs around it, of its tasks, and of its tenant."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from crewai import Crew, Memory, Process
from crewai.tools import tool

from crew_moe.crew import attach, report
from crew_moe.crew.current import one_run
from crew_moe.crew.refusals import TaskFailed, TaskRefused
from crew_moe.domain.principal import Principal
from crew_moe.router import Router
from crew_moe.sim import Simulation
from tests.crew.guarded import Make, answering, calling, ends, lookup, scopes, solo_of, spent, watched
from tests.crew.playing import run


def test_hierarchy_planning_and_memory_are_charged_to_the_run(
    agent: Make, task: Make, router: Router, sim: Simulation, tmp_path: Any
) -> None:
    memory = Memory(storage=str(tmp_path / "memory"), embedder=lambda texts: [[1.0] * 8 for _ in texts])
    crew = Crew(
        agents=[agent()],
        tasks=[task("only")],
        process=Process.hierarchical,
        manager_llm="gpt-4o",
        planning=True,
        memory=memory,
    )
    asked = {"task": "Count", "context": "none", "coworker": "Analyst"}
    sim.reply_with("gpt-4o", tool_calls=[{"name": "delegate_work_to_coworker", "arguments": asked}])
    run(attach(crew, router=router, budget_usd="5"))
    (scope,) = scopes(router.guards.ledger)
    assert scope.settled_usd == report(crew).cost_usd > 0
    assert {"memory", "planning"} <= {row.seat for row in report(crew).seats}


def test_a_manager_is_stopped_by_the_budget_of_the_run(
    agent: Make, task: Make, router: Router, sim: Simulation, routing: Make
) -> None:
    crew = Crew(agents=[agent()], tasks=[task("only")], process=Process.hierarchical, manager_llm="gpt-4o")
    for index in range(20):
        asked = {"task": f"Count {index}", "context": "none", "coworker": "Analyst"}
        calling(sim, "gpt-4o", 1, "delegate_work_to_coworker", **asked)
    crew = attach(crew, routing("default: {pin: gpt-4o, max_output_tokens: 500}"), router=router, budget_usd="0.02")
    assert isinstance(ends(crew), TaskFailed | TaskRefused)
    assert Decimal("0.005") < spent(router) <= Decimal("0.02")


def test_each_input_is_a_run_of_its_own(agent: Make, task: Make, router: Router) -> None:
    member = agent()
    crew = Crew(agents=[member], tasks=[task("only", member, description="Analyse {topic}")])
    attach(crew, router=router, budget_usd="1").kickoff_for_each(inputs=[{"topic": "rain"}, {"topic": "snow"}])
    assert len(scopes(router.guards.ledger)) == 2


@pytest.mark.parametrize("inner_usd", [None, "9"])
def test_a_crew_inside_a_crew_spends_from_the_outer_run(
    inner_usd: str | None, agent: Make, task: Make, router: Router, sim: Simulation, routing: Make
) -> None:
    path = routing("default: {pin: gpt-5, max_output_tokens: 800}")
    inner = attach(solo_of(agent, task, role="Inner"), path, router=router, budget_usd=inner_usd)

    @tool("ask")
    def ask(city: str) -> str:
        """Asks the other crew."""
        return run(inner).raw + city

    calling(sim, "gpt-4o", 20, "ask")
    answering(sim, "gpt-5", 20, tokens=200)
    path = routing("default: {pin: gpt-4o}")
    outer = attach(solo_of(agent, task, tools=[ask]), path, router=router, budget_usd="0.03")
    with watched(router.guards.ledger, "0.03") as passed:
        assert isinstance(ends(outer), TaskFailed | TaskRefused)
    assert passed == []
    spending = max(scopes(router.guards.ledger), key=lambda one: one.settled_usd)
    assert spending.limit_usd == Decimal("0.03")
    assert spending.settled_usd == report(outer).cost_usd + report(inner).cost_usd


def test_a_crew_inside_a_crew_keeps_to_its_own_budget_too(
    agent: Make, task: Make, router: Router, sim: Simulation, routing: Make
) -> None:
    path = routing("default: {pin: gpt-5, max_output_tokens: 800}")
    inner = attach(solo_of(agent, task, role="Inner", tools=[lookup]), path, router=router, budget_usd="0.01")
    calling(sim, "gpt-5", 20)
    with one_run("outer", budget_nano=10**9), pytest.raises((TaskFailed, TaskRefused)):
        inner.kickoff()
    assert 0 < report(inner).cost_usd <= Decimal("0.01")
    (whole, part) = sorted(scopes(router.guards.ledger), key=lambda one: one.limit_usd or 0, reverse=True)
    assert (whole.scope, whole.limit_usd, part.limit_usd) == ("run:outer", Decimal(1), Decimal("0.01"))
    assert whole.settled_usd == part.settled_usd


def test_crews_under_one_run_share_its_budget(
    agent: Make, task: Make, router: Router, sim: Simulation, routing: Make
) -> None:
    path = routing("default: {pin: gpt-5}")
    answering(sim, "gpt-5", 9, tokens=60)  # 0.0032 US$ each
    crews = [attach(solo_of(agent, task), path, router=router, budget_usd="0.01") for _ in range(5)]
    with one_run("flow-7"):
        errors = [ends(crew) for crew in crews]
    assert errors[:2] == [None, None]
    assert isinstance(errors[-1], TaskFailed | TaskRefused)
    (scope,) = scopes(router.guards.ledger)
    assert (scope.scope, scope.settled_usd) == ("run:flow-7", sum(report(crew).cost_usd for crew in crews))


def test_every_execution_of_a_task_has_its_budget_anew(agent: Make, task: Make, router: Router, routing: Make) -> None:
    path = routing("tasks: {only: {pin: gpt-5, budget_usd: 0.02, max_output_tokens: 800}}")
    crew = attach(solo_of(agent, task), path, router=router)
    for _ in range(3):
        assert run(crew).raw
    assert len(scopes(router.guards.ledger, "task")) == 3


def test_the_same_question_to_an_agent_has_its_budget_anew(
    agent: Make, task: Make, router: Router, routing: Make
) -> None:
    member = agent()
    path = routing("agents: {Analyst: {pin: gpt-5, budget_usd: 0.02, max_output_tokens: 800}}")
    attach(Crew(agents=[member], tasks=[task("only", member)]), path, router=router)
    for _ in range(4):
        assert member.kickoff("What is rain?").raw
    assert len(scopes(router.guards.ledger, "task")) == 4


def test_a_tenant_pays_for_all_its_crews(
    agent: Make, task: Make, router: Router, sim: Simulation, routing: Make
) -> None:
    router.budgets.set("tenant:acme", "0.01", window="month", by="ann")
    answering(sim, "gpt-5", 9, tokens=60)
    path = routing("default: {pin: gpt-5, tenant: mallory, project: web}")
    ann = Principal(subject="ann@acme", tenant="acme")
    errors = [ends(attach(solo_of(agent, task), path, router=router, principal=ann)) for _ in range(4)]
    assert errors[0] is None
    assert isinstance(errors[-1], TaskFailed | TaskRefused)
    known = {one.scope.rpartition("/")[0] or one.scope for one in router.budgets.status()}
    assert known == {"tenant:acme", "project:acme", "user:acme", "run:acme"}
