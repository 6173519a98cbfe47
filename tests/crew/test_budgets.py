"""Real crews and their money: whatever fails, no run, task or tenant spends past its limit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from itertools import combinations
from typing import Any, Final

import pytest
from crewai import Crew
from pydantic import ValidationError

from crew_moe.crew import attach, report
from crew_moe.crew.refusals import TaskFailed, TaskRefused
from crew_moe.errors import InvalidInput
from crew_moe.router import Router
from crew_moe.sim import Simulation, simulate
from crew_moe.telemetry.events import Recorder
from tests.crew.guarded import Make, Ruled, calling, ends, lookup, on_duty, scopes, solo_of, spent, watched
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


def held(router: Router) -> Decimal:
    """What calls may have cost of which nobody knows."""
    return sum((charge.reserved_usd for charge in router.budgets.open_charges()), Decimal(0))


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
    error: Exception | None = None
    with watched(router.guards.ledger, "0.02") as passed, suppress(UserWarning, ValidationError):
        # The two are CrewAI's own: an expert that took over called a tool where a text was wanted of it.
        error = ends(crew)
    assert passed == []
    assert error is None or isinstance(error, TaskFailed | TaskRefused)
    until(lambda: spent(router) == report(crew).cost_usd + held(router))  # the others' last calls
    assert all(scope.overrun_usd == 0 for scope in scopes(router.guards.ledger))


def test_what_nobody_knows_the_price_of_stays_put_aside(agent: Make, task: Make, routing: Make) -> None:
    with (
        simulate({"rules": [{"expert": "gpt-5", "error": 500}]}, speed=0) as sim,
        Router.from_config(state=":memory:", base_url=sim.base_url) as router,
    ):
        crew = attach(solo_of(agent, task), routing("default: {pin: gpt-5}"), router=router, budget_usd="1")
        assert isinstance(ends(crew), TaskFailed)
        (scope,) = scopes(router.guards.ledger)
        (charge,) = router.budgets.open_charges(scope.scope)
    assert scope.reserved_usd == charge.reserved_usd > 0 == scope.settled_usd


def test_a_policy_limits_every_run(agent: Make, task: Make, ruled: Ruled, sim: Simulation, routing: Make) -> None:
    router = ruled("budgets: {limits: {'run:*': {usd: '0.02', window: run}}}")
    calling(sim, "gpt-5", 20)
    path = routing("default: {pin: gpt-5, max_output_tokens: 500}")
    crew = attach(solo_of(agent, task, tools=[lookup]), path, router=router, budget_usd="5")
    assert isinstance(ends(crew), TaskFailed | TaskRefused)
    (scope,) = scopes(router.guards.ledger)
    assert scope.limit_usd == Decimal("0.02")
    assert 0 < scope.settled_usd <= Decimal("0.02")


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
