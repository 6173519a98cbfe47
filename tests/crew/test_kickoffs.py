"""Every way of starting a crew: each task on its expert, each token counted once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from crewai import Agent, Crew, CrewOutput, Process, Task
from crewai.flow.flow import Flow, listen, start

from crew_moe.crew import attach, report
from crew_moe.router import Router
from crew_moe.sim import Simulation
from tests.crew.playing import charged, queue, run, tokens

Make = Callable[..., Agent]


@pytest.fixture
def only(routing: Callable[[str], Path]) -> Path:
    """Everything goes to one expert, whose answers a test queues."""
    return routing("default: {pin: gpt-4o}")


def test_sequential_crew_answers_each_task(crew: Crew, router: Router, sim: Simulation, only: Path) -> None:
    truth = queue(sim, "gpt-4o", 2)
    output = run(attach(crew, only, router=router))
    assert [row.task for row in report(crew).tasks] == ["first", "second"]
    assert tokens(output) == charged(report(crew)) == truth
    assert output.token_usage.successful_requests == 2


def test_each_task_of_one_agent_goes_to_its_own_expert(
    crew: Crew, router: Router, sim: Simulation, routing: Callable[[str], Path]
) -> None:
    path = routing("tasks: {first: {pin: o1}, second: {tier: fast}}")
    attach(crew, path, router=router).kickoff()
    first, second = report(crew).tasks
    assert first.expert_id == "o1"
    assert second.tier == "fast"
    assert [request.expert_id for request in sim.requests] == [first.expert_id, second.expert_id]


def test_second_call_of_a_task_keeps_the_decision(crew: Crew, router: Router) -> None:
    attach(crew, router=router).kickoff()
    before = {row.task: row.decision_id for row in report(crew).tasks}
    crew.kickoff()
    rows = report(crew).tasks
    assert len(rows) == 4
    assert len({row.decision_id for row in rows}) == 4
    assert {row.decision_id for row in rows} >= set(before.values())


def test_async_tasks_run_side_by_side(
    agent: Make, task: Callable[..., Task], router: Router, sim: Simulation, only: Path
) -> None:
    truth = queue(sim, "gpt-4o", 4)
    team = [agent(f"Analyst {index}") for index in range(3)]
    tasks = [task(f"part-{index}", member, async_execution=True) for index, member in enumerate(team)]
    crew = attach(Crew(agents=team, tasks=[*tasks, task("sum", team[0])]), only, router=router)
    output = run(crew)
    assert {row.task for row in report(crew).tasks} == {"part-0", "part-1", "part-2", "sum"}
    assert tokens(output) == charged(report(crew)) == truth


@pytest.mark.parametrize("start", ["kickoff_async", "akickoff"])
async def test_asynchronous_kickoffs(start: str, crew: Crew, router: Router, sim: Simulation, only: Path) -> None:
    truth = queue(sim, "gpt-4o", 2)
    output = await getattr(attach(crew, only, router=router), start)()
    assert tokens(output) == charged(report(crew)) == truth


def test_kickoff_for_each_counts_every_copy_once(crew: Crew, router: Router, sim: Simulation, only: Path) -> None:
    truth = queue(sim, "gpt-4o", 4)
    crew.tasks[0].description = "Analyse {topic}"
    attach(crew, only, router=router).kickoff_for_each(inputs=[{"topic": "rain"}, {"topic": "snow"}])
    assert [row.task for row in report(crew).tasks] == ["first", "second"] * 2
    assert crew.usage_metrics is not None
    metrics = crew.usage_metrics
    assert (metrics.prompt_tokens, metrics.completion_tokens) == charged(report(crew)) == truth


async def test_kickoff_for_each_async_counts_every_copy_once(
    crew: Crew, router: Router, sim: Simulation, only: Path
) -> None:
    truth = queue(sim, "gpt-4o", 6)
    crew.tasks[0].description = "Analyse {topic}"
    topics = [{"topic": topic} for topic in ("rain", "snow", "hail")]
    await attach(crew, only, router=router).kickoff_for_each_async(inputs=topics)
    assert len(report(crew).tasks) == 6
    assert crew.usage_metrics is not None
    metrics = crew.usage_metrics
    assert (metrics.prompt_tokens, metrics.completion_tokens) == charged(report(crew)) == truth


def test_hierarchical_crew_routes_manager_and_coworker(
    agent: Make, task: Callable[..., Task], router: Router, sim: Simulation, routing: Callable[[str], Path]
) -> None:
    crew = Crew(agents=[agent()], tasks=[task("only")], process=Process.hierarchical, manager_llm="gpt-4o")
    path = routing("tasks: {only: {pin: gpt-5}}")
    asked = {"task": "Count", "context": "none", "coworker": "Analyst"}
    sim.reply_with("gpt-5", tool_calls=[{"name": "delegate_work_to_coworker", "arguments": asked}])
    sim.reply_with("gpt-5", "It is 42.")
    sim.reply_with("gpt-5", "The answer is 42.")
    output = run(attach(crew, path, router=router))
    (row,) = report(crew).tasks
    assert output.raw == "The answer is 42."
    assert (row.task, row.calls) == ("only", 3)
    assert tokens(output) == charged(report(crew))


def test_streaming_crew_gives_chunks_and_the_same_report(crew: Crew, router: Router, sim: Simulation) -> None:
    crew.stream = True
    stream = attach(crew, router=router).kickoff()
    chunks = [chunk.content for chunk in stream]  # type: ignore[union-attr]
    assert "".join(chunks)
    assert [request.body.get("stream") for request in sim.requests] == [True, True]
    assert [row.task for row in report(crew).tasks] == ["first", "second"]


def test_crew_inside_a_flow(crew: Crew, router: Router) -> None:
    routed = attach(crew, router=router)

    class Pipeline(Flow):  # type: ignore[type-arg]
        @start()
        def work(self) -> str:
            return run(routed).raw

        @listen(work)
        def count(self, text: str) -> int:
            return len(text)

    assert Pipeline().kickoff() > 0
    assert len(report(crew).tasks) == 2


async def test_crews_side_by_side_keep_their_own_books(
    agent: Make, task: Callable[..., Task], router: Router, sim: Simulation
) -> None:
    crews = []
    for index in range(4):
        member = agent()
        crews.append(attach(Crew(agents=[member], tasks=[task(f"t{index}", member)]), router=router))
    outputs = await asyncio.gather(*(crew.kickoff_async() for crew in crews))
    for crew, output in zip(crews, outputs, strict=True):
        assert isinstance(output, CrewOutput)
        assert tokens(output) == charged(report(crew))
    assert len(sim.requests) == 4
