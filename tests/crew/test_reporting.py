"""The report of a crew, and the memory that it stands on."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from crewai import LLM, Crew
from crewai.knowledge.knowledge import Knowledge

from crew_moe.crew import RoutedLLM, attach, journal, report, runs
from crew_moe.router import Router
from crew_moe.sim import Simulation
from tests.crew.playing import run

Make = Callable[..., Any]


def test_report_is_json_with_money_as_text(
    crew: Crew, agent: Make, task: Make, router: Router, sim: Simulation, routing: Callable[[str], Path]
) -> None:
    own = LLM(model="openai/gpt-4o", base_url=sim.base_url, api_key="sk-test")
    stranger = agent("Stranger", llm=own)
    team = Crew(agents=[*crew.agents, stranger], tasks=[*crew.tasks, task("third", stranger)], planning=True)
    sim.kill("openai")
    sim.reply_with("gpt-5", '{"list_of_plans_per_task": []}')
    path = routing("tasks: {first: {pin: o1, fallbacks: [claude-opus-4]}}")
    attach(team, path, router=router)
    team.planning = False
    team.tasks.pop()
    run(team)
    team.planning_llm.call("Plan something")  # type: ignore[union-attr]
    told = json.loads(json.dumps(report(team).as_dict()))
    first = told["tasks"][0]
    assert (first["task"], first["expert_id"], first["tier"]) == ("first", "claude-opus-4", "premium")
    assert [attempt["error"] for attempt in first["attempts"]] == ["connection", None]
    assert first["switches"] == [{"from": "o1", "to": "claude-opus-4", "reason": "connection", "fallback": True}]
    assert Decimal(first["cost_usd"]) > 0
    assert set(first) >= {"input_tokens", "output_tokens", "latency_ms", "rationale", "decision_id", "calls", "error"}
    assert told["totals"]["fallbacks"] >= 1
    assert told["totals"]["calls"] == 3
    assert [seat["seat"] for seat in told["seats"]] == ["planning"]
    assert told["unrouted"] == []


def test_unrouted_call_as_json(agent: Make, task: Make, router: Router, sim: Simulation) -> None:
    own = LLM(model="openai/gpt-4o", base_url=sim.base_url, api_key="sk-test")
    member = agent(llm=own)
    crew = attach(Crew(agents=[member], tasks=[task("only", member)]), router=router)
    run(crew)
    (call,) = report(crew).as_dict()["unrouted"]
    assert (call["who"], call["model"], call["task"]) == ("Analyst", "gpt-4o", "only")
    assert Decimal(call["cost_usd"]) > 0


def test_embedders_are_named(crew: Crew, router: Router) -> None:
    attach(crew, router=router)
    crew.knowledge = Knowledge(collection_name="papers", sources=[])
    crew.agents[0].knowledge = Knowledge(collection_name="notes", sources=[])
    assert report(crew).ungated == ("embedder of the crew's knowledge", "embedder of Analyst's knowledge")


def test_rationale_is_the_decisions_own(crew: Crew, router: Router) -> None:
    run(attach(crew, router=router))
    row = report(crew).tasks[0]
    assert row.decision_id is not None
    assert str(row.expert_id) in row.rationale
    assert router.log.get(row.decision_id) is not None


def test_totals_stay_exact_when_old_calls_are_forgotten(
    crew: Crew, router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MAX_CALLS", 3)
    model = attach(crew, router=router).agents[0].llm
    assert isinstance(model, RoutedLLM)
    for number in range(5):
        model.call(f"Question {number}")
    told = report(crew)
    assert (told.calls, told.seats[0].calls) == (5, 3)
    assert told.cost_usd > told.seats[0].cost_usd


def test_old_conversations_are_forgotten(crew: Crew, router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "MAX_RUNS", 2)
    model = attach(crew, router=router).agents[0].llm
    assert isinstance(model, RoutedLLM)
    for number in range(4):
        model.call(f"Question {number}")
    assert len(model.seat.dispatcher.runs._runs) == 2
