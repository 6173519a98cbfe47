"""What one routed call does: needs, tools, structured answers, switches, events and errors."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from crewai import Agent, Crew, CrewOutput, Task
from crewai.events.event_bus import crewai_event_bus
from crewai.events.types.llm_events import (
    LLMCallCompletedEvent,
    LLMCallFailedEvent,
    LLMCallStartedEvent,
    LLMStreamChunkEvent,
)
from crewai.hooks import HookAborted, register_before_llm_call_hook, unregister_before_llm_call_hook
from crewai.tools import tool
from pydantic import BaseModel

from crew_moe.crew import attach, report
from crew_moe.domain.expert import Capability
from crew_moe.domain.outcome import ErrorClass
from crew_moe.errors import ExecutionFailed, RefusedError
from crew_moe.router import Router
from crew_moe.sim import Simulation, simulate
from tests.crew.playing import run

Make = Callable[..., Any]
SERVER = "gpt-4o"


@tool("lookup")
def lookup(city: str) -> str:
    """Population of a city."""
    return f"{city}: 4 million"


class Findings(BaseModel):
    title: str
    count: int


@pytest.fixture
def pinned(routing: Make) -> Any:
    """Routing that sends everything to one expert, with one fallback."""
    return routing(f"default: {{pin: {SERVER}, fallbacks: [claude-sonnet-4]}}")


def one(agent: Agent, task: Task, **fields: Any) -> Crew:
    return Crew(agents=[agent], tasks=[task], **fields)


def test_tools_are_called_natively(agent: Make, task: Make, router: Router, sim: Simulation, pinned: Any) -> None:
    member = agent(tools=[lookup])
    sim.reply_with(SERVER, tool_calls=[{"name": "lookup", "arguments": {"city": "Berlin"}}])
    sim.reply_with(SERVER, "Berlin has 4 million people.")
    crew = attach(one(member, task("count", member)), pinned, router=router)
    assert run(crew).raw == "Berlin has 4 million people."
    first, second = sim.requests
    assert first.body["tools"][0]["function"]["name"] == "lookup"
    assert {"assistant", "tool"} <= {message["role"] for message in second.messages}
    assert "Berlin: 4 million" in str(second.messages)


def test_tools_become_a_need(agent: Make, task: Make, router: Router, sim: Simulation) -> None:
    member = agent(tools=[lookup])
    attach(one(member, task("count", member)), router=router).kickoff()
    assert Capability.TOOLS in router.registry[sim.requests[0].expert_id].capabilities


def test_switch_in_mid_task_keeps_the_conversation(
    agent: Make, task: Make, router: Router, sim: Simulation, pinned: Any
) -> None:
    @tool("outage")
    def outage(city: str) -> str:
        """Kills the provider."""
        sim.kill("openai")
        return f"{city} is dark"

    member = agent(tools=[outage])
    sim.reply_with(SERVER, tool_calls=[{"name": "outage", "arguments": {"city": "Bonn"}}])
    sim.reply_with("claude-sonnet-4", "Bonn is dark.")
    crew = attach(one(member, task("look", member)), pinned, router=router)
    assert run(crew).raw == "Bonn is dark."
    (row,) = report(crew).tasks
    assert "Bonn is dark" in str(sim.requests[-1].messages)
    assert [(a.expert_id, a.error) for a in row.attempts] == [
        (SERVER, None),
        (SERVER, ErrorClass.CONNECTION),
        ("claude-sonnet-4", None),
    ]
    assert [(s.from_expert, s.to_expert, s.reason) for s in row.switches] == [(SERVER, "claude-sonnet-4", "connection")]


def test_task_stays_with_the_expert_that_took_over(
    agent: Make, task: Make, router: Router, sim: Simulation, pinned: Any
) -> None:
    @tool("flicker")
    def flicker(step: int) -> str:
        """The provider dies and comes back."""
        (sim.kill if step == 1 else sim.revive)("openai")
        return f"step {step}"

    member = agent(tools=[flicker])
    sim.reply_with(SERVER, tool_calls=[{"name": "flicker", "arguments": {"step": 1}}])
    sim.reply_with("claude-sonnet-4", tool_calls=[{"name": "flicker", "arguments": {"step": 2}}])
    sim.reply_with("claude-sonnet-4", "Done.")
    crew = attach(one(member, task("look", member)), pinned, router=router)
    assert run(crew).raw == "Done."
    (row,) = report(crew).tasks
    assert [attempt.expert_id for attempt in row.attempts] == [SERVER, SERVER, "claude-sonnet-4", "claude-sonnet-4"]
    assert [attempt.number for attempt in row.attempts] == [1, 2, 3, 4]


def test_new_need_in_mid_task_decides_anew(agent: Make, task: Make, router: Router) -> None:
    member = agent(llm="o1-mini")
    crew = attach(one(member, task("look", member)), router=router)
    for wanted in (None, Findings):
        member.llm.call("Look", from_task=crew.tasks[0], response_model=wanted)
    (row,) = report(crew).tasks
    assert row.attempts[0].expert_id == "o1-mini"
    assert Capability.JSON in router.registry[str(row.expert_id)].capabilities
    assert [switch.reason for switch in row.switches] == ["needs"]


def test_structured_output(agent: Make, task: Make, router: Router, sim: Simulation, pinned: Any) -> None:
    member = agent()
    sim.reply_with(SERVER, '{"title": "Audit", "count": 3}')
    output = run(attach(one(member, task("audit", member, output_pydantic=Findings)), pinned, router=router))
    assert output.pydantic == Findings(title="Audit", count=3)
    assert sim.requests[0].body["response_format"]["type"] == "json_schema"


@pytest.mark.parametrize("start", ["kickoff", "akickoff"])
async def test_text_is_converted_over_the_seat(
    start: str, agent: Make, task: Make, router: Router, sim: Simulation, pinned: Any
) -> None:
    member = agent(tools=[lookup])
    sim.reply_with(SERVER, "The title is Audit and the count is 3.")
    sim.reply_with(SERVER, '{"title": "Audit", "count": 3}')
    crew = attach(one(member, task("audit", member, output_json=Findings)), pinned, router=router)
    output = await crew.akickoff() if start == "akickoff" else await asyncio.to_thread(crew.kickoff)
    assert isinstance(output, CrewOutput)
    assert output.json_dict == {"title": "Audit", "count": 3}
    assert report(crew).tasks[0].calls == len(sim.requests) == 2


def test_guardrail_retry_decides_anew(agent: Make, task: Make, router: Router, pinned: Any) -> None:
    verdicts = iter([(False, "too short"), (True, "fine now")])
    member = agent()
    work = task("write", member, guardrail=lambda _: next(verdicts))
    crew = attach(one(member, work), pinned, router=router)
    crew.kickoff()
    rows = list(crew._dispatcher.journal.calls)  # type: ignore[attr-defined]
    assert len(rows) == 2
    assert len({call.decision_id for call in rows}) == 2
    assert len(report(crew).tasks) == 1


def test_guardrail_in_words_belongs_to_its_task(
    agent: Make, task: Make, router: Router, sim: Simulation, pinned: Any
) -> None:
    member = agent()
    work = task("write", member, guardrail="It must be polite")
    sim.reply_with(SERVER, "Dear all.")
    sim.reply_with(SERVER, '{"valid": true, "feedback": null}')
    crew = attach(one(member, work), pinned, router=router)
    assert run(crew).raw == "Dear all."
    (row,) = report(crew).tasks
    assert (row.calls, row.task, len(sim.requests)) == (2, "write", 2)


def test_override_in_mid_task_takes_effect_at_the_next_call(
    agent: Make, task: Make, router: Router, sim: Simulation
) -> None:
    @tool("switch")
    def switch(city: str) -> str:
        """Pins another expert."""
        router.pin("o1", reason="incident")
        return city

    member = agent(tools=[switch], llm=SERVER)
    sim.reply_with(SERVER, tool_calls=[{"name": "switch", "arguments": {"city": "Bonn"}}])
    router.pin(SERVER)
    crew = attach(one(member, task("work", member)), router=router)
    crew.kickoff()
    assert [request.expert_id for request in sim.requests] == [SERVER, "o1"]
    (row,) = report(crew).tasks
    assert [switch.reason for switch in row.switches] == ["override"]


def test_budget_of_a_task_holds_over_its_calls(
    agent: Make, task: Make, router: Router, sim: Simulation, routing: Make
) -> None:
    path = routing(f"tasks: {{count: {{pin: {SERVER}, budget_usd: 0.02, max_output_tokens: 500}}}}")
    member = agent(tools=[lookup], max_iter=40)
    for index in range(30):
        sim.reply_with(SERVER, tool_calls=[{"name": "lookup", "arguments": {"city": f"{'Berlin' * 100}{index}"}}])
    crew = attach(one(member, task("count", member)), path, router=router)
    with pytest.raises((ExecutionFailed, RefusedError), match="budget"):
        crew.kickoff()
    (row,) = report(crew).tasks
    assert 0 < float(row.cost_usd) <= 0.02


def test_refusal_names_the_binding_constraint_and_calls_nobody(
    crew: Crew, router: Router, sim: Simulation, routing: Make
) -> None:
    attach(crew, routing("tasks: {first: {min_quality: 0.999}}"), router=router)
    with pytest.raises(RefusedError, match="min_quality") as caught:
        crew.kickoff()
    assert isinstance(caught.value, HookAborted)
    assert caught.value.infeasible.binding == "min_quality"
    assert sim.requests == []
    (row,) = report(crew).tasks
    assert (row.decision_id, row.expert_id) == (caught.value.infeasible.decision_id, None)
    assert "min_quality" in row.rationale


def test_failed_task_is_not_repeated(crew: Crew, router: Router, sim: Simulation, pinned: Any) -> None:
    for expert_id in (SERVER, "claude-sonnet-4"):
        sim.kill(expert_id)  # its calls arrive and are reset, so that they can be counted
    with pytest.raises(ExecutionFailed) as caught:
        attach(crew, pinned, router=router).kickoff()
    assert [attempt.expert_id for attempt in caught.value.attempts] == [SERVER, "claude-sonnet-4"]
    assert len(sim.requests) == 2


@pytest.fixture
def seen() -> Any:
    """Counts LLM events by type and call id while a test runs."""
    counts: Counter[str] = Counter()
    ids: dict[str, set[str]] = {}
    with crewai_event_bus.scoped_handlers():
        for kind in (LLMCallStartedEvent, LLMCallCompletedEvent, LLMCallFailedEvent, LLMStreamChunkEvent):

            def count(_: Any, event: Any) -> None:
                counts[event.type] += 1
                ids.setdefault(event.type, set()).add(event.call_id)

            crewai_event_bus.register_handler(kind, count)
        yield counts, ids


def test_each_call_starts_and_ends_once(crew: Crew, router: Router, seen: Any) -> None:
    counts, ids = seen
    attach(crew, router=router).kickoff()
    crewai_event_bus.flush()
    assert counts == {"llm_call_started": 2, "llm_call_completed": 2}
    assert ids["llm_call_started"] == ids["llm_call_completed"]


def test_failed_call_is_told_once(crew: Crew, router: Router, sim: Simulation, pinned: Any, seen: Any) -> None:
    counts, _ = seen
    sim.kill("openai")
    sim.kill("anthropic")
    with pytest.raises(ExecutionFailed):
        attach(crew, pinned, router=router).kickoff()
    crewai_event_bus.flush()
    assert counts == {"llm_call_started": 1, "llm_call_failed": 1}


def test_streamed_chunks_make_up_the_answer(crew: Crew, router: Router, seen: Any) -> None:
    counts, _ = seen
    crew.agents[0].llm.stream = True  # type: ignore[union-attr]
    assert run(attach(crew, router=router)).raw
    crewai_event_bus.flush()
    assert counts["llm_stream_chunk"] > 2
    assert counts["llm_call_completed"] == 2


async def test_streamed_call_on_an_event_loop(crew: Crew, router: Router, sim: Simulation, seen: Any) -> None:
    counts, _ = seen
    model: Any = attach(crew, router=router).agents[0].llm
    model.stream = True
    for expert in router.registry:
        sim.reply_with(expert.expert_id, "one two three")
    assert await model.acall("Count") == "one two three"
    crewai_event_bus.flush()
    assert counts["llm_stream_chunk"] > 1
    assert (counts["llm_call_started"], counts["llm_call_completed"]) == (1, 1)


def test_stream_that_breaks_is_not_begun_again(crew: Crew, pinned: Any) -> None:
    with (
        simulate({"rules": [{"error": "cut_stream"}]}, speed=0) as sim,
        Router.from_config(state=":memory:", base_url=sim.base_url) as cut,
    ):
        model: Any = attach(crew, pinned, router=cut).agents[0].llm
        model.stream = True
        with pytest.raises(ExecutionFailed, match="broke after its first words"):
            model.call("Count to a hundred", from_task=crew.tasks[0])
        assert len(sim.requests) == 1


def test_hook_that_blocks_is_obeyed(crew: Crew, router: Router, sim: Simulation) -> None:
    def block(_: Any) -> bool:
        return False

    register_before_llm_call_hook(block)
    try:
        with pytest.raises(ValueError, match="blocked"):
            attach(crew, router=router).kickoff()
    finally:
        unregister_before_llm_call_hook(block)
    assert sim.requests == []


def test_image_needs_an_expert_that_sees(router: Router, sim: Simulation, agent: Make, task: Make) -> None:
    member = agent()
    crew = attach(one(member, task("look", member)), router=router)
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    content: list[dict[str, Any]] = [{"type": "text", "text": "What is this?"}, picture]
    crew.agents[0].llm.call([{"role": "user", "content": content}])  # type: ignore[union-attr]
    assert Capability.VISION in router.registry[sim.requests[0].expert_id].capabilities


def test_settings_of_the_agents_own_model_are_kept(router: Router, sim: Simulation, agent: Make, task: Make) -> None:
    from crewai import LLM

    member = agent(llm=LLM(model="gpt-4o", temperature=0.25, max_tokens=77, stop=["END"]))
    attach(one(member, task("write", member)), router=router).kickoff()
    body = sim.requests[0].body
    assert sim.requests[0].expert_id == "gpt-4o"
    assert (body["temperature"], body.get("max_tokens") or body.get("max_completion_tokens")) == (0.25, 77)
    assert "END" in body["stop"]


def test_own_model_has_fallbacks(router: Router, sim: Simulation, agent: Make, task: Make) -> None:
    sim.kill("openai")
    member = agent(llm="gpt-4o")
    crew = attach(one(member, task("write", member)), router=router)
    crew.kickoff()
    (row,) = report(crew).tasks
    assert row.attempts[0].expert_id == "gpt-4o"
    assert row.attempts[-1].ok
