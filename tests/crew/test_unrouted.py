"""Calls that pass the router by, through models of somebody else's: gated, within budgets, and charged afterwards."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import pytest
from crewai import LLM, Agent, Crew
from crewai.events.event_bus import crewai_event_bus
from crewai.hooks import HookAborted

from crew_moe.crew import RoutedLLM, attach, report
from crew_moe.domain.principal import Principal
from crew_moe.domain.usage import Usage
from crew_moe.errors import StateError
from crew_moe.router import Router
from crew_moe.sim import Simulation
from tests.crew.guarded import Make, Ruled, on_duty, scopes
from tests.crew.playing import run

LEADS: Final = "gate: {above: fast, checks: [{has_any_role: {roles: [lead]}}]}"
ANN: Final = Principal(subject="ann", tenant="acme", roles=frozenset({"lead"}))
PRICED: Final = Usage(input_tokens=1_000, output_tokens=500)  # 0.0075 US$ of gpt-4o's money


@pytest.fixture
def foreign(agent: Make, task: Make, sim: Simulation) -> Callable[[], Crew]:
    """A crew whose one agent has a model with an address of its own, which nobody routes."""

    def make() -> Crew:
        member = agent(llm=LLM(model="openai/gpt-4o", base_url=sim.base_url, api_key="sk-test"))
        return Crew(agents=[member], tasks=[task("only", member)])

    return make


@pytest.fixture
def unrouted(agent: Make, task: Make, sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Crew]:
    """A crew of a model that the catalogue knows, with routing switched off."""
    monkeypatch.setenv("CREW_MOE_DISABLED", "1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", sim.base_url)

    def make() -> Crew:
        member = agent(llm="gpt-4o")
        return Crew(agents=[member], tasks=[task("only", member)])

    return make


def stopped(crew: Crew, sim: Simulation) -> str:
    """Why its call was not made."""
    with pytest.raises(HookAborted) as caught:
        crew.kickoff()
    assert sim.requests == []
    return str(caught.value)


def charged(router: Router) -> Decimal:
    crewai_event_bus.flush()
    return sum((one.settled_usd + one.overrun_usd for one in scopes(router.guards.ledger)), Decimal(0))


def test_a_foreign_model_passes_the_gate(foreign: Callable[[], Crew], ruled: Ruled, sim: Simulation) -> None:
    assert "has_any_role" in stopped(attach(foreign(), router=ruled(LEADS)), sim)
    assert run(attach(foreign(), router=ruled(LEADS), principal=ANN)).raw


def test_a_person_is_asked_about_a_foreign_model(foreign: Callable[[], Crew], ruled: Ruled) -> None:
    router = ruled("gate: {checks: [{needs_approval: premium}]}")
    officer = on_duty(router)
    assert run(attach(foreign(), router=router)).raw
    assert officer.experts == ["gpt-4o"]


def test_a_model_that_nobody_knows_is_allowed_by_no_access_rule(
    foreign: Callable[[], Crew], ruled: Ruled, sim: Simulation
) -> None:
    router = ruled("access: [{name: no premium, forbid: {tiers: [premium]}}]")
    assert "access rules hold, and the catalogue does not know this model" in stopped(
        attach(foreign(), router=router), sim
    )


def test_access_rules_hold_while_routing_is_off(unrouted: Callable[[], Crew], ruled: Ruled, sim: Simulation) -> None:
    router = ruled("access: [{name: no openai, forbid: {providers: [openai]}, unless: [{roles: [lead]}]}]")
    assert "forbidden by 'no openai'" in stopped(attach(unrouted(), router=router), sim)
    assert run(attach(unrouted(), router=router, principal=ANN)).raw


def test_what_a_foreign_call_cost_is_charged_to_its_run(
    foreign: Callable[[], Crew], router: Router, sim: Simulation
) -> None:
    sim.reply_with("gpt-4o", "Done.", usage=PRICED)
    crew = attach(foreign(), router=router, principal=ANN, budget_usd="1")
    run(crew)
    (call,) = report(crew).unrouted
    assert charged(router) == call.cost_usd == Decimal("0.0075")
    assert router.budgets.status("tenant:acme")[0].settled_usd == call.cost_usd


def test_a_used_up_budget_stops_foreign_calls(foreign: Callable[[], Crew], router: Router, sim: Simulation) -> None:
    router.budgets.set("tenant:acme", "0.005")
    sim.reply_with("gpt-4o", "Done.", usage=PRICED)
    run(attach(foreign(), router=router, principal=ANN))
    assert charged(router) == Decimal("0.0075")
    with pytest.raises(HookAborted, match="the budget of tenant:acme is used up"):
        attach(foreign(), router=router, principal=ANN).kickoff()
    assert len(sim.requests) == 1


def test_a_run_that_may_cost_nothing_makes_no_foreign_call(
    foreign: Callable[[], Crew], router: Router, sim: Simulation
) -> None:
    assert "is used up" in stopped(attach(foreign(), router=router, budget_usd="0"), sim)


def test_switched_off_routing_leaves_models_alone_and_budgets_in_force(
    unrouted: Callable[[], Crew], router: Router, sim: Simulation
) -> None:
    sim.reply_with("gpt-4o", "Done.", usage=PRICED)
    crew = attach(unrouted(), router=router, principal=ANN, budget_usd="0.005")
    member = crew.agents[0]
    assert isinstance(member, Agent)
    assert not isinstance(member.llm, RoutedLLM)
    run(crew)
    assert charged(router) == Decimal("0.0075")
    assert scopes(router.guards.ledger)[0].blocked


@pytest.mark.parametrize("error", [StateError("the store is lost"), RuntimeError("a bug")])
def test_whatever_goes_wrong_here_stops_the_call(
    error: Exception,
    foreign: Callable[[], Crew],
    router: Router,
    sim: Simulation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: str) -> Any:
        raise error

    crew = attach(foreign(), router=router, budget_usd="1")
    monkeypatch.setattr(router.guards.ledger, "status", fail)
    stopped(crew, sim)


def test_crews_that_nobody_attached_are_left_alone(foreign: Callable[[], Crew], ruled: Ruled, sim: Simulation) -> None:
    attach(foreign(), router=ruled(LEADS))
    assert run(foreign()).raw
    assert len(sim.requests) == 1


async def test_a_foreign_model_passes_the_gate_on_an_event_loop(
    foreign: Callable[[], Crew], ruled: Ruled, sim: Simulation
) -> None:
    with pytest.raises(HookAborted, match="has_any_role"):
        await attach(foreign(), router=ruled(LEADS)).akickoff()
    assert sim.requests == []
