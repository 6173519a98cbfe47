"""Real crews and their money: whatever fails, no run, task or tenant spends past its limit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import combinations
from typing import Any, Final

import pytest
from crewai import Crew, Memory, Process
from crewai.tools import tool

from crew_moe.crew import attach, report
from crew_moe.crew.current import one_run
from crew_moe.crew.refusals import TaskFailed, TaskRefused
from crew_moe.domain.principal import Principal
from crew_moe.domain.usage import Usage
from crew_moe.errors import CrewMoEError, InvalidInput
from crew_moe.router import Router
from crew_moe.sim import Simulation, simulate
from crew_moe.telemetry.events import Recorder
from tests.crew.guarded import Make, Ruled, calling, lookup, on_duty, scopes, watched
from tests.crew.playing import run
from tests.waiting import until

LIMIT: Final = "0.05"
TEAM: Final = 4
FAULTS: Final = (500, "timeout", "reset", 429, "malformed")
SOME_FAULTS: Final = [pair for size in (1, 2) for pair in combinations(FAULTS, size)]
HASTY: Final = """
limits: {max_retry_after_ms: 0}
tiers: {fast: {attempt_timeout_ms: 100}, baseline: {attempt_timeout_ms: 100}, premium: {attempt_timeout_ms: 100}}
"""


def team_of(agent: Make, task: Make, size: int = TEAM) -> Crew:
    """Agents that work side by side, each with a tool, and one that sums up."""
    members = [agent(f"Analyst {index}", tools=[lookup]) for index in range(size)]
    tasks = [task(f"part-{index}", member, async_execution=True) for index, member in enumerate(members)]
    return Crew(agents=members, tasks=[*tasks, task("sum", members[0])])


def solo_of(agent: Make, task: Make, **fields: Any) -> Crew:
    member = agent(**fields)
    return Crew(agents=[member], tasks=[task("only", member)])


def spent(router: Router, kind: str = "run") -> Decimal:
    """What all scopes of a kind have settled and hold."""
    found = scopes(router.guards.ledger, kind)
    return sum((one.settled_usd + one.reserved_usd + one.overrun_usd for one in found), Decimal(0))


def held(router: Router) -> Decimal:
    """What calls may have cost of which nobody knows."""
    return sum((charge.reserved_usd for charge in router.budgets.open_charges()), Decimal(0))


def ends(crew: Crew) -> Exception | None:
    """Kick it off; the typed error that it ended with."""
    try:
        crew.kickoff()
    except CrewMoEError as error:
        return error
    return None


def test_async_tasks_with_tools_share_the_budget_of_their_run(
    agent: Make, task: Make, router: Router, sim: Simulation, routing: Make
) -> None:
    calling(sim, "gpt-5", 60)
    path = routing("default: {pin: gpt-5, max_output_tokens: 200}")
    crew = attach(team_of(agent, task), path, router=router, budget_usd=LIMIT)
    with watched(router.guards.ledger, LIMIT) as passed:
        error = ends(crew)
    assert passed == []
    assert isinstance(error, TaskFailed | TaskRefused)
    until(lambda: not router.budgets.open_charges())  # the others' last calls
    (scope,) = scopes(router.guards.ledger)
    assert scope.limit_usd == Decimal(LIMIT)
    assert Decimal("0.01") < scope.settled_usd == report(crew).cost_usd


@pytest.fixture
def failing(tmp_path: Any) -> Iterator[Callable[..., tuple[Router, Simulation]]]:
    """Routers over providers that fail as they are told, each third call at first."""
    open_now: list[Any] = []

    def make(*faults: object) -> tuple[Router, Simulation]:
        rules = [
            {"error": fault, "from_call": start, "to_call": start}
            for index, fault in enumerate(faults)
            for start in range(1 + index, 30, len(faults) + 1)
        ]
        sim = simulate({"rules": rules}, speed=0).start()
        (tmp_path / "policy.yaml").write_text(HASTY, encoding="utf-8")
        router = Router.from_config(tmp_path, state=":memory:", base_url=sim.base_url, sink=Recorder())
        open_now.extend((router.close, sim.stop))
        return router, sim

    yield make
    for close in open_now:
        close()


@pytest.mark.parametrize("faults", SOME_FAULTS, ids=lambda faults: "+".join(map(str, faults)))
def test_no_outage_makes_a_run_pass_its_budget(
    faults: tuple[object, ...], agent: Make, task: Make, failing: Callable[..., tuple[Router, Simulation]]
) -> None:
    router, sim = failing(*faults)
    for expert in router.registry:
        calling(sim, expert.expert_id, 1)
    crew = attach(team_of(agent, task, 2), router=router, budget_usd="0.02")
    with watched(router.guards.ledger, "0.02") as passed:
        error = ends(crew)
    assert passed == []
    assert error is None or isinstance(error, TaskFailed | TaskRefused)
    until(lambda: spent(router) == report(crew).cost_usd + held(router))  # the others' last calls
    assert all(scope.overrun_usd == 0 for scope in scopes(router.guards.ledger))


def test_what_nobody_knows_the_price_of_stays_put_aside(
    agent: Make, task: Make, failing: Callable[..., tuple[Router, Simulation]], routing: Make
) -> None:
    router, _ = failing("reset")
    crew = attach(solo_of(agent, task), routing("default: {pin: gpt-5}"), router=router, budget_usd="1")
    assert isinstance(ends(crew), TaskFailed)
    (scope,) = scopes(router.guards.ledger)
    (charge,) = router.budgets.open_charges(scope.scope)
    assert scope.reserved_usd == charge.reserved_usd > 0 == scope.settled_usd


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


def answering(sim: Simulation, expert_id: str, times: int, *, tokens: int) -> None:
    """Queue so many answers of a known price."""
    for _ in range(times):
        sim.reply_with(expert_id, "Done.", usage=Usage(input_tokens=400, output_tokens=tokens))


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


def test_a_policy_limits_every_run(agent: Make, task: Make, ruled: Ruled, sim: Simulation, routing: Make) -> None:
    router = ruled("budgets: {limits: {'run:*': {usd: '0.02', window: run}}}")
    calling(sim, "gpt-5", 20)
    path = routing("default: {pin: gpt-5, max_output_tokens: 500}")
    crew = attach(solo_of(agent, task, tools=[lookup]), path, router=router, budget_usd="5")
    assert isinstance(ends(crew), TaskFailed | TaskRefused)
    (scope,) = scopes(router.guards.ledger)
    assert scope.limit_usd == Decimal("0.02")
    assert 0 < scope.settled_usd <= Decimal("0.02")


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


PINNED: Final = "default: {pin: gpt-5, fallbacks: [gpt-4o-mini], max_output_tokens: 800}"


def test_an_exhausted_budget_is_denied_at_once(
    agent: Make, task: Make, ruled: Ruled, sim: Simulation, routing: Make
) -> None:
    router = ruled("budgets: {on_exhausted: deny}")
    crew = attach(solo_of(agent, task), routing(PINNED), router=router, budget_usd="0.001")
    error = ends(crew)
    assert isinstance(error, TaskFailed)
    assert error.reason == "a budget is used up, and the policy denies more"
    assert [row.error for row in error.attempts] == ["over_budget"]
    assert "has $0.001 left of $0.001" in error.attempts[0].detail
    assert sim.requests == []


def test_an_exhausted_budget_may_be_passed_where_a_person_says_so(
    agent: Make, task: Make, ruled: Ruled, routing: Make
) -> None:
    router = ruled("budgets: {on_exhausted: hold}")
    officer = on_duty(router)
    crew = attach(solo_of(agent, task), routing(PINNED), router=router, budget_usd="0.001")
    run(crew)
    (asked,) = officer.asked_about
    (scope,) = scopes(router.guards.ledger)
    assert scope.limit_usd is not None
    assert scope.settled_usd <= scope.limit_usd == Decimal("0.001") + Decimal(asked.max_cost_nano) / 10**9
    assert report(crew).tasks[0].attempts[0].detail == "approved by officer"


def test_an_exhausted_budget_goes_on_with_cheaper_experts(
    agent: Make, task: Make, router: Router, routing: Make
) -> None:
    path = routing("default: {tier: premium, max_output_tokens: 800}")
    crew = attach(solo_of(agent, task), path, router=router, budget_usd="0.0015")
    run(crew)
    (row,) = report(crew).tasks
    assert row.tier != "premium"
    assert {attempt.error for attempt in row.attempts} == {"over_budget", None}
    assert not any(switch.fallback for switch in row.switches)
    assert report(crew).fallbacks == 0
    assert json.loads(json.dumps(report(crew).as_dict()))["tasks"][0]["attempts"][0]["error"] == "over_budget"


def test_a_run_over_its_budget_leaves_free_experts(agent: Make, task: Make, router: Router, routing: Make) -> None:
    path = routing("default: {pin: gpt-5, fallbacks: [local/extractive]}")
    crew = attach(solo_of(agent, task), path, router=router, budget_usd="0.000001")
    run(crew)
    assert report(crew).tasks[0].expert_id == "local/extractive"


@pytest.mark.parametrize("budget", ["-1", "nan", "a lot"])
def test_a_budget_that_is_none_is_told_at_once(budget: str, agent: Make, task: Make, router: Router) -> None:
    with pytest.raises(InvalidInput, match="budget_usd"):
        attach(solo_of(agent, task), router=router, budget_usd=budget)


def test_a_stream_that_the_reader_leaves_stays_paid(agent: Make, task: Make, router: Router, routing: Make) -> None:
    crew = solo_of(agent, task)
    crew.stream = True
    stream: Any = attach(crew, routing("default: {pin: gpt-5}"), router=router, budget_usd="1").kickoff()
    assert "".join(chunk.content for chunk in stream)
    (scope,) = scopes(router.guards.ledger)
    assert scope.settled_usd == report(crew).cost_usd > 0 == scope.reserved_usd


async def test_a_budget_holds_on_an_event_loop(
    agent: Make, task: Make, router: Router, sim: Simulation, routing: Make
) -> None:
    calling(sim, "gpt-5", 60)
    path = routing("default: {pin: gpt-5, max_output_tokens: 800}")
    crew = attach(team_of(agent, task), path, router=router, budget_usd=LIMIT)
    with watched(router.guards.ledger, LIMIT) as passed, pytest.raises((TaskFailed, TaskRefused)):
        await crew.akickoff()
    assert passed == []
    assert len(scopes(router.guards.ledger)) == 1
