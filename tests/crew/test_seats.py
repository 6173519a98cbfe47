"""Every LLM seat of a crew is behind the router, and what is not is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from crewai import LLM, Agent, Crew, Memory, PlanningConfig, Process
from crewai.llm_overlay import llm_overlay

from crew_moe.crew import RoutedLLM, attach, report
from crew_moe.crew.seat import SeatKind
from crew_moe.errors import ConfigError
from crew_moe.router import Router
from crew_moe.sim import Simulation
from crew_moe.telemetry.events import Recorder
from tests.crew.playing import charged, run, tokens

Make = Callable[..., Any]
DIMENSIONS = 8


def embed(texts: list[str]) -> list[list[float]]:
    """An embedder that needs no model."""
    return [[float((hash(text) >> shift) % 7) for shift in range(DIMENSIONS)] for text in texts]


@pytest.fixture
def memory(tmp_path: Any) -> Memory:
    return Memory(storage=str(tmp_path / "memory"), embedder=embed)


def kind_of(llm: Any) -> SeatKind:
    assert isinstance(llm, RoutedLLM)
    return llm.seat.kind


def test_seats_of_a_hierarchical_crew(agent: Make, task: Make, router: Router) -> None:
    member = agent(function_calling_llm="gpt-4o-mini", planning_config=PlanningConfig(llm="o1"))
    crew = Crew(
        agents=[member],
        tasks=[task("only")],
        process=Process.hierarchical,
        manager_llm="gpt-4o",
        planning=True,
        function_calling_llm="gpt-4o",
        chat_llm="gpt-4o",
    )
    attach(crew, router=router)
    assert kind_of(member.llm) is SeatKind.AGENT
    assert kind_of(member.__dict__["function_calling_llm"]) is SeatKind.FUNCTION_CALLING
    assert kind_of(member.planning_config.llm) is SeatKind.REASONING
    assert kind_of(crew.manager_llm) is SeatKind.MANAGER
    assert kind_of(crew.planning_llm) is SeatKind.PLANNING
    assert kind_of(crew.__dict__["function_calling_llm"]) is SeatKind.FUNCTION_CALLING
    assert kind_of(crew.chat_llm) is SeatKind.CHAT


def test_manager_agent_and_agents_that_only_tasks_know(agent: Make, task: Make, router: Router) -> None:
    boss, member, guest = agent("Boss"), agent(), agent("Guest")
    crew = Crew(agents=[member], tasks=[task("only", guest)], process=Process.hierarchical, manager_agent=boss)
    attach(crew, router=router)
    assert kind_of(boss.llm) is SeatKind.MANAGER
    assert kind_of(guest.llm) is SeatKind.AGENT


def test_planning_call_is_a_seat_of_its_own(crew: Crew, router: Router, sim: Simulation, routing: Make) -> None:
    crew.planning = True
    path = routing("agents: {planning: {pin: gpt-5}}")
    plan = '{"list_of_plans_per_task": [{"task_number": 1, "task": "first", "plan": "Think."}]}'
    sim.reply_with("gpt-5", plan)
    output = run(attach(crew, path, router=router))
    (seat,) = report(crew).seats
    assert (seat.seat, seat.calls, seat.experts) == ("planning", 1, ("gpt-5",))
    assert "Think." in str(sim.requests[1].messages)
    assert output.token_usage.successful_requests == 3


def test_step_planning_belongs_to_its_task(agent: Make, task: Make, router: Router) -> None:
    member = agent(planning_config=PlanningConfig(max_attempts=1, reasoning_effort="low", llm="gpt-4o-mini"))
    crew = attach(Crew(agents=[member], tasks=[task("only", member)]), router=router)
    crew.kickoff()
    rows = report(crew)
    assert rows.seats == ()
    assert rows.tasks[0].calls > 1


def test_memory_is_routed_and_counted(crew: Crew, memory: Memory, router: Router, sim: Simulation) -> None:
    remembering = Crew(agents=crew.agents, tasks=crew.tasks, memory=memory)
    output = run(attach(remembering, router=router))
    rows = report(remembering)
    (seat,) = [row for row in rows.seats if row.seat == "memory"]
    assert seat.calls > 0
    assert rows.ungated == ("embedder of the crew's memory",)
    assert tokens(output) == charged(rows)
    assert rows.calls == len(sim.requests)


def test_memory_that_nobody_serves_does_not_end_the_crew(
    crew: Crew, memory: Memory, router: Router, routing: Make
) -> None:
    remembering = Crew(agents=crew.agents, tasks=crew.tasks, memory=memory)
    path = routing("agents: {memory: {min_quality: 0.999}}")
    assert run(attach(remembering, path, router=router)).raw
    (seat,) = report(remembering).seats
    assert seat.failed == seat.calls > 0


def test_what_all_tasks_share_obeys_the_strictest_data_rule(
    crew: Crew, memory: Memory, router: Router, routing: Make
) -> None:
    remembering = Crew(agents=crew.agents, tasks=crew.tasks, memory=memory)
    path = routing("tasks: {first: {data: {pii: local_only}}}")
    attach(remembering, path, router=router).kickoff()
    (seat,) = report(remembering).seats
    assert seat.experts == ("local/auto",)
    assert report(remembering).tasks[0].expert_id == "local/auto"


def test_evaluator_of_a_crew_test_is_routed(crew: Crew, router: Router, sim: Simulation) -> None:
    for _ in range(2):
        sim.reply_with("o1", '{"quality": 7}')
    attach(crew, router=router).test(n_iterations=1, eval_llm="o1")
    rows = {row.seat: row for row in report(crew).seats}
    assert rows["evaluator"].experts == ("o1",)


def test_attaching_twice_is_attaching_once(crew: Crew, router: Router, sim: Simulation) -> None:
    attach(attach(crew, router=router), router=router).kickoff()
    assert len(sim.requests) == report(crew).calls == 2
    assert type(crew).__mro__.count(Crew) == 1


def test_disabled_routing_leaves_the_crews_models_alone(
    crew: Crew, router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREW_MOE_DISABLED", "1")
    held = crew.agents[0].llm
    assert attach(crew, router=router) is crew
    assert crew.agents[0].llm is held


def test_residencies_that_clash_in_a_shared_seat_are_told_at_once(
    crew: Crew, memory: Memory, router: Router, routing: Make
) -> None:
    remembering = Crew(agents=crew.agents, tasks=crew.tasks, memory=memory)
    path = routing("tasks: {first: {data: {residency: eu}}, second: {data: {residency: us}}}")
    with pytest.raises(ConfigError, match="different residencies"):
        attach(remembering, path, router=router)


def test_failed_attach_changes_nothing(crew: Crew, router: Router, routing: Make) -> None:
    held = crew.agents[0].llm
    with pytest.raises(ConfigError, match="did you mean 'first'"):
        attach(crew, routing("tasks: {frist: {tier: fast}}"), router=router)
    assert crew.agents[0].llm is held


def test_unknown_model_passes_through_and_is_told(agent: Make, task: Make, router: Router, sim: Simulation) -> None:
    own = LLM(model="openai/gpt-4o", base_url=sim.base_url, api_key="sk-test")
    member = agent(llm=own)
    crew = attach(Crew(agents=[member], tasks=[task("only", member)]), router=router)
    output = run(crew)
    (call,) = report(crew).unrouted
    assert member.llm is own
    assert (call.who, call.model, call.task) == ("Analyst", "gpt-4o", "only")
    assert call.usage.input_tokens == output.token_usage.prompt_tokens > 0
    assert call.cost_usd is not None


def test_two_agents_with_one_foreign_model_are_counted_once(
    agent: Make, task: Make, router: Router, sim: Simulation
) -> None:
    own = LLM(model="openai/gpt-4o", base_url=sim.base_url, api_key="sk-test")
    team = [agent("One", llm=own), agent("Two", llm=own)]
    crew = Crew(agents=team, tasks=[task(f"t{index}", member) for index, member in enumerate(team)])
    output = run(attach(crew, router=router))
    assert output.token_usage.successful_requests == len(sim.requests) == 2


def test_unknown_model_is_routed_where_a_file_routes_its_task(
    agent: Make, task: Make, router: Router, sim: Simulation, routing: Make
) -> None:
    member = agent(llm=LLM(model="openai/my-tune", base_url=sim.base_url, api_key="sk-test"))
    crew = Crew(agents=[member], tasks=[task("only", member)])
    attach(crew, routing("tasks: {only: {pin: o1}}"), router=router).kickoff()
    assert [request.expert_id for request in sim.requests] == ["o1"]


def test_overlay_that_takes_a_seat_is_told(
    agent: Make, task: Make, router: Router, sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", sim.base_url)
    recorder = router.sink = Recorder()
    member = agent("Analyst of {topic}")
    crew = attach(Crew(agents=[member], tasks=[task("only", member)]), router=router)
    with llm_overlay({"Analyst of rain": "openai/gpt-4o"}):
        crew.kickoff(inputs={"topic": "rain"})
    (call,) = report(crew).unrouted
    assert (call.who, call.model) == ("Analyst of rain", "gpt-4o")
    assert ("unrouted_call", {"who": call.who, "model": "gpt-4o", "task": "only"}) in recorder.events


def test_direct_question_to_an_agent_is_one_conversation(crew: Crew, router: Router) -> None:
    attach(crew, router=router)
    member: Agent = crew.agents[0]  # type: ignore[assignment]
    assert member.kickoff("What is rain?").raw  # type: ignore[union-attr]
    assert member.kickoff("What is rain?").raw  # type: ignore[union-attr]
    (seat,) = report(crew).seats
    assert (seat.seat, seat.calls) == ("agent:Analyst", 2)


def test_copies_of_a_crew_with_every_seat_stay_routed(agent: Make, task: Make, router: Router) -> None:
    member = agent(function_calling_llm="gpt-4o-mini", planning_config=PlanningConfig(llm="o1"))
    crew = Crew(agents=[member], tasks=[task("only", member)], planning=True, chat_llm="gpt-4o")
    copied = attach(crew, router=router).copy()
    twin = copied.agents[0]
    assert kind_of(twin.__dict__["function_calling_llm"]) is SeatKind.FUNCTION_CALLING
    assert kind_of(twin.planning_config.llm) is SeatKind.REASONING  # type: ignore[attr-defined]
    assert kind_of(copied.planning_llm) is SeatKind.PLANNING
    assert kind_of(copied.chat_llm) is SeatKind.CHAT
    assert copied.chat_llm.seat.dispatcher is not crew.chat_llm.seat.dispatcher  # type: ignore[union-attr]
