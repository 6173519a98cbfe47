"""What routing adds to a CrewAI model's call, with a client that answers at once."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial
from statistics import median
from typing import Any, Final

from crew_moe import Router
from crew_moe.domain.chat import ChatChunk, ChatReply, ChatRequest
from crew_moe.domain.expert import Expert, Transport
from crew_moe.domain.usage import Usage
from tests.benchmarks.figure import Figure
from tests.benchmarks.material import router_of, text_of
from tests.benchmarks.measure import Timing, cpu_s, in_turns, sample_ns, timing

ANSWER: Final = "Thought: I know it now.\nFinal Answer: yes"
REPLY: Final = ChatReply(text=ANSWER, usage=Usage(input_tokens=200, output_tokens=20))
TASKS: Final = 2
OFFLINE: Final = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "OTEL_SDK_DISABLED": "true",
}


class Instant:
    """An LLMClient whose every answer is there already."""

    def call(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply:  # noqa: ARG002 - the port's
        return REPLY

    async def acall(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply:
        return self.call(expert, request, timeout_s=timeout_s)

    def stream(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> Iterator[ChatChunk]:
        yield ChatChunk(text=ANSWER, reply=self.call(expert, request, timeout_s=timeout_s))

    async def astream(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> AsyncIterator[ChatChunk]:
        yield ChatChunk(text=ANSWER, reply=self.call(expert, request, timeout_s=timeout_s))

    def close(self) -> None:
        """Nothing to give back."""


def crew_calls(*, calls: int, rounds: int) -> Iterator[Figure]:
    """Single calls (wall time) and whole kickoffs (CPU time), routed and not, in turns."""
    os.environ.update(OFFLINE)
    from crew_moe.crew import RoutedLLM

    router = router_of(18)
    crews = {"plain": _crew(None), "routed": _crew(router)}
    for transport in Transport:
        router.executor.client.register(transport, Instant())
    model = crews["routed"].agents[0].llm
    if not isinstance(model, RoutedLLM):
        raise TypeError(f"the crew is not routed: its agent speaks with {model!r}")
    prompt = [{"role": "user", "content": text_of(200)}]
    seen = in_turns(
        {
            name: partial(_call_timing, partial(crew.agents[0].llm.call, prompt, **_origin(crew)), calls)
            for name, crew in crews.items()
        },
        rounds,
    )
    figure = partial(Figure, group="CrewAI: one LLM call, experts that answer at once")
    plain_us, routed_us = seen["plain"].p50_us, seen["routed"].p50_us
    yield figure(name="model without routing", value=plain_us, unit="us", note="wall p50")
    yield figure(name="routed model", value=routed_us, unit="us", note="wall p50")
    yield figure(name="  overhead of a call", value=(routed_us - plain_us) / 1e3, unit="ms", at_most=1.0)
    yield from _kickoffs({"plain": _crew(None), "routed": _crew(router)}, runs=rounds * 8)


def _kickoffs(crews: Mapping[str, Any], *, runs: int) -> Iterator[Figure]:
    seen: dict[str, list[float]] = {name: [] for name in crews}
    for _ in range(runs):
        for name, crew in crews.items():
            seen[name].append(cpu_s(crew.kickoff) * 1e3)
    figure = partial(Figure, group=f"CrewAI: a crew of {TASKS} tasks with one call each", unit="ms")
    plain_ms, routed_ms = (median(samples[1:]) for samples in seen.values())
    yield figure(name="kickoff without routing", value=plain_ms, note="CPU, median")
    yield figure(name="kickoff with routing", value=routed_ms, note="CPU, median")
    yield figure(
        name="  overhead of a task", value=(routed_ms - plain_ms) / TASKS, at_most=1.0, note="its decision included"
    )


def _origin(crew: Any) -> dict[str, Any]:
    return {"from_task": crew.tasks[0], "from_agent": crew.agents[0]}


def _call_timing(call: Callable[[], object], calls: int) -> Timing:
    """Wall time: what a caller waits."""
    return timing(sample_ns(lambda _: call(), calls, time.perf_counter_ns), time.perf_counter_ns)


def _crew(router: Router | None) -> Any:
    """A crew of two tasks; routed when there is a router. CrewAI is loaded here, after its settings."""
    from crewai import Agent, Crew, Task
    from crewai.events.types.llm_events import LLMCallType
    from crewai.llms.base_llm import BaseLLM, llm_call_context

    from crew_moe.crew import attach

    class Plain(BaseLLM):
        """The least that CrewAI's own models do: an answer, and the events of the call."""

        def call(self, messages: Any, *_: Any, **origin: Any) -> str:
            seat = {"from_task": origin.get("from_task"), "from_agent": origin.get("from_agent")}
            with llm_call_context():
                self._emit_call_started_event(messages, **seat)
                self._emit_call_completed_event(ANSWER, LLMCallType.LLM_CALL, messages=messages, **seat)
            return ANSWER

        async def acall(self, messages: Any, *_: Any, **origin: Any) -> str:
            return self.call(messages, **origin)

        def get_input_tokens_count(self, *_: Any, **__: Any) -> int:
            return 200

    model = Plain(model="plain") if router is None else None
    agent = Agent(role="Analyst", goal="Do it well", backstory="Years of practice", llm=model)
    tasks = [
        Task(name=f"task_{number}", description=text_of(200, number), expected_output="One word", agent=agent)
        for number in range(TASKS)
    ]
    crew = Crew(agents=[agent], tasks=tasks)
    return crew if router is None else attach(crew, router=router)
