"""How calls that can't be served end: once, with our typed error, and in a form that CrewAI takes the right way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from crewai import Crew, Process
from crewai.llms.retry import _ThrottlingErrorClassifier
from crewai.tools import tool
from crewai.utilities.agent_utils import is_context_length_exceeded, is_native_tool_calling_unsupported_error

from crew_moe.clock import ManualClock
from crew_moe.crew import attach, report
from crew_moe.crew.refusals import ContextTooLong, SeatFailed, TaskFailed, TaskRefused, ToolsUnsupported
from crew_moe.domain.outcome import Attempt, ErrorClass
from crew_moe.domain.registry import Registry
from crew_moe.errors import ExecutionFailed, RefusedError
from crew_moe.router import Router
from crew_moe.sim import Simulation, simulate
from crew_moe.state.breaker import expert_key
from tests.crew.playing import run

Make = Callable[..., Any]

TEMPTING = "Rate limit reached, too many requests; maximum context length; does not support tools"
ATTEMPT = Attempt(
    number=1,
    expert_id="gpt-4o",
    ok=False,
    error=ErrorClass.RATE_LIMIT,
    detail=TEMPTING,
    status=429,
    started_at=datetime(2026, 1, 1, tzinfo=UTC),
)


@pytest.mark.parametrize("error", [TaskFailed([ATTEMPT], reason="r"), SeatFailed([ATTEMPT], reason="r")])
def test_providers_words_do_not_reach_crewai(error: ExecutionFailed) -> None:
    assert not _ThrottlingErrorClassifier.is_throttling_error(error)
    assert not is_context_length_exceeded(error)
    assert not is_native_tool_calling_unsupported_error(error)
    assert "gpt-4o: rate_limit (HTTP 429)" in str(error)
    assert (error.reason, error.attempts) == ("r", (ATTEMPT,))


def test_words_that_crewai_shall_understand() -> None:
    assert is_context_length_exceeded(ContextTooLong("x"))
    assert is_native_tool_calling_unsupported_error(ToolsUnsupported("x"))


@pytest.mark.parametrize("fault", [429, 500, "malformed", "reset", 401])
def test_every_kind_of_failure_is_tried_once_per_expert(fault: object, crew: Crew, routing: Make) -> None:
    path = routing("default: {pin: gpt-4o, fallbacks: [o1]}")
    with (
        simulate({"rules": [{"error": fault}]}, speed=0) as sim,
        Router.from_config(state=":memory:", base_url=sim.base_url) as failing,
    ):
        with pytest.raises(ExecutionFailed) as caught:
            attach(crew, path, router=failing).kickoff()
        assert [attempt.expert_id for attempt in caught.value.attempts] == ["gpt-4o", "o1"]
        assert [request.expert_id for request in sim.requests] == ["gpt-4o", "o1"]


def test_coworker_that_nobody_serves_ends_the_crew(
    agent: Make, task: Make, router: Router, sim: Simulation, routing: Make
) -> None:
    path = routing("agents: {Analyst: {min_quality: 0.999}}")
    crew = Crew(agents=[agent()], tasks=[task("only")], process=Process.hierarchical, manager_llm="gpt-4o")
    asked = {"task": "Count", "context": "none", "coworker": "Analyst"}
    sim.reply_with("gpt-4o", tool_calls=[{"name": "delegate_work_to_coworker", "arguments": asked}])
    with pytest.raises(RefusedError, match="min_quality"):
        attach(crew, path, router=router).kickoff()
    assert len(sim.requests) == 1


def test_asynchronous_task_ends_the_crew_with_our_error(agent: Make, task: Make, router: Router, routing: Make) -> None:
    member = agent()
    tasks = [task("first", member, async_execution=True), task("second", agent("Other"))]
    crew = attach(
        Crew(agents=[member, tasks[1].agent], tasks=tasks),
        routing("tasks: {first: {min_quality: 0.999}}"),
        router=router,
    )
    with pytest.raises(RefusedError, match="min_quality"):
        crew.kickoff()


def test_deadline_of_a_task_ends_it(agent: Make, task: Make, sim: Simulation, routing: Make) -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))

    @tool("wait")
    def wait(minutes: int) -> str:
        """Waits."""
        clock.advance(minutes * 60)
        return "done"

    member = agent(tools=[wait])
    sim.reply_with("gpt-4o", tool_calls=[{"name": "wait", "arguments": {"minutes": 2}}])
    with Router.from_config(state=":memory:", base_url=sim.base_url, clock=clock) as router:
        crew = attach(
            Crew(agents=[member], tasks=[task("slow", member)]),
            routing("tasks: {slow: {pin: gpt-4o, deadline_ms: 60000}}"),
            router=router,
        )
        with pytest.raises(ExecutionFailed, match="deadline"):
            crew.kickoff()
    assert len(sim.requests) == 1


@pytest.fixture
def narrow(router: Router, sim: Simulation) -> Iterator[Router]:
    """A router over experts that take 4,000 tokens."""
    experts = tuple(replace(expert, context_window=4000, max_output_tokens=500) for expert in router.registry)
    with Router(
        registry=Registry(experts=experts),
        policy=router.policy,
        state=router.state,
        log=router.log,
        base_url=sim.base_url,
    ) as made:
        yield made


def test_conversation_that_is_too_long_is_shortened_by_crewai(
    agent: Make, task: Make, narrow: Router, sim: Simulation, routing: Make
) -> None:
    @tool("read")
    def read(page: int) -> str:
        """Reads a page."""
        return f"page {page}: " + "word " * 1200

    member = agent(tools=[read], use_better_compaction=False)
    for page in range(3):
        sim.reply_with("gpt-4o", tool_calls=[{"name": "read", "arguments": {"page": page}}])
    for _ in range(6):
        sim.reply_with("gpt-4o", "In short")
    only = routing("default: {pin: gpt-4o}")
    crew = attach(Crew(agents=[member], tasks=[task("read", member)]), only, router=narrow)
    assert run(crew).raw == "In short"
    assert "page 0" not in str(sim.requests[-1].messages)
    assert len(report(crew).tasks) == 1


def test_task_that_can_not_be_shortened_is_refused(crew: Crew, narrow: Router, sim: Simulation) -> None:
    attach(crew, router=narrow)
    model: Any = crew.agents[0].llm
    crew.agents[0].respect_context_window = False  # type: ignore[attr-defined]
    with pytest.raises(TaskRefused, match="context_window"):
        model.call("word " * 9000, from_agent=crew.agents[0])
    assert sim.requests == []


def test_shortening_is_asked_for_a_few_times_only(crew: Crew, narrow: Router) -> None:
    attach(crew, router=narrow)
    model: Any = crew.agents[0].llm
    long = [{"role": "user", "content": "word " * 9000}, {"role": "assistant", "content": "x"}]
    for _ in range(3):
        with pytest.raises(ContextTooLong):
            model.call(long, from_agent=crew.agents[0], from_task=crew.tasks[0])
    with pytest.raises(TaskRefused):
        model.call(long, from_agent=crew.agents[0], from_task=crew.tasks[0])


def test_expert_without_tools_gets_them_described(
    agent: Make, task: Make, router: Router, sim: Simulation, routing: Make
) -> None:
    @tool("lookup")
    def lookup(city: str) -> str:
        """Looks a city up."""
        return f"{city} is big"

    member = agent(tools=[lookup])
    sim.reply_with("o1-mini", 'Thought: look\nAction: lookup\nAction Input: {"city": "Bonn"}')
    sim.reply_with("o1-mini", "Thought: I know\nFinal Answer: Bonn is big")
    crew = attach(
        Crew(agents=[member], tasks=[task("only", member)]), routing("default: {pin: o1-mini}"), router=router
    )
    assert run(crew).raw == "Bonn is big"
    assert "tools" not in sim.requests[0].body
    assert "Bonn is big" in str(sim.requests[1].messages)


def test_tools_that_nobody_takes_now_are_described_instead(
    agent: Make, task: Make, router: Router, sim: Simulation, routing: Make
) -> None:
    @tool("lookup")
    def lookup(city: str) -> str:
        """Looks a city up."""
        return city

    # Of the two that are good enough, one takes no tools and the other's circuit is open.
    path = routing("default: {min_quality: 0.91, tier: baseline}")
    router.state.fail(expert_key("gpt-4o"), router.clock.now(), eject_ms=60_000)
    member = agent(tools=[lookup])
    sim.reply_with("gemini-2.0-flash-thinking", "Thought: easy\nFinal Answer: Bonn")
    crew = attach(Crew(agents=[member], tasks=[task("only", member)]), path, router=router)
    assert run(crew).raw == "Bonn"


def test_tools_that_the_task_insists_on_are_not_described(
    agent: Make, task: Make, router: Router, routing: Make
) -> None:
    path = routing("default: {pin: o1-mini, requires: [tools]}")
    member = agent()
    with pytest.raises(RefusedError, match="capability"):
        attach(Crew(agents=[member], tasks=[task("only", member)]), path, router=router).kickoff()
