"""Experts reached by CrewAI's own classes, here its OpenAI class against the simulated providers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from threading import Barrier, Event
from typing import Any

import pytest
from crewai import Agent, Crew, Task
from crewai.events.event_bus import crewai_event_bus
from crewai.events.types.llm_events import LLMCallStartedEvent
from crewai.llms.providers.openai.completion import OpenAICompletion

from crew_moe.crew import attach, report
from crew_moe.crew.native import NativeClient
from crew_moe.crew.native_failure import failure_of
from crew_moe.domain.chat import ChatRequest
from crew_moe.domain.expert import Expert, Transport
from crew_moe.domain.outcome import ErrorClass
from crew_moe.domain.registry import Registry
from crew_moe.domain.usage import Usage
from crew_moe.execution.failure import CallFailed
from crew_moe.router import Router
from crew_moe.sim import Simulation, simulate
from tests.crew.playing import run, tokens

CLIENT = NativeClient()
TOOL = {"type": "function", "function": {"name": "count", "description": "Counts", "parameters": {"type": "object"}}}


@pytest.fixture
def native(router: Router, sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> Expert:
    """gpt-4o behind CrewAI's OpenAI class."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    gpt = router.registry["gpt-4o"]
    return replace(gpt, transport=Transport.NATIVE, base_url=sim.base_url, base_url_env=None)


def ask(text: str = "Hello", **fields: Any) -> ChatRequest:
    return ChatRequest(messages=[{"role": "user", "content": text}], max_output_tokens=50, **fields)


def test_answer_and_usage_of_one_call(native: Expert, sim: Simulation) -> None:
    sim.reply_with("gpt-4o", "Good day. END and more", usage=Usage(input_tokens=11, output_tokens=3))
    reply = CLIENT.call(native, ask(temperature=0.5, stop=["END"]), timeout_s=5)
    assert (reply.text, reply.usage) == ("Good day.", Usage(input_tokens=11, output_tokens=3))
    body = sim.requests[0].body
    assert body["temperature"] == 0.5
    assert 50 in (body.get("max_tokens"), body.get("max_completion_tokens"))


def test_cache_and_thinking_are_counted(native: Expert, sim: Simulation) -> None:
    usage = Usage(input_tokens=11, output_tokens=3, cached_tokens=5, reasoning_tokens=2)
    sim.reply_with("gpt-4o", "Good day.", usage=usage)

    assert CLIENT.call(native, ask(), timeout_s=5).usage == usage


def test_every_answer_of_a_call_is_counted_in_its_sdk_s_words(native: Expert, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"inputTokens": 10, "outputTokens": 5, "cacheReadInputTokens": 80, "cacheWriteInputTokens": 20}

    def answer(llm: Any, **_: Any) -> str:
        llm._track_token_usage_internal(told)
        llm._track_token_usage_internal(told)
        llm._track_token_usage_internal({"total_tokens": 0})  # CrewAI's word for an answer that tells nothing
        return "fine"

    monkeypatch.setattr(OpenAICompletion, "call", answer)
    assert CLIENT.call(native, ask(), timeout_s=5).usage == Usage(
        input_tokens=220, output_tokens=10, cached_tokens=160, cache_write_tokens=40
    )


def test_empty_answer_tells_what_it_cost(native: Expert, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(llm: Any, **_: Any) -> str:
        llm._track_token_usage_internal({"prompt_tokens": 7, "completion_tokens": 0})
        return ""

    monkeypatch.setattr(OpenAICompletion, "call", answer)
    with pytest.raises(CallFailed) as caught:
        CLIENT.call(native, ask(), timeout_s=5)
    assert caught.value.usage == Usage(input_tokens=7)


def test_refusal_for_the_rate_tells_the_limits(native: Expert, router: Router) -> None:
    script = {"limits": {"gpt-4o": {"requests_per_minute": 1}}}
    with simulate(script, speed=0, registry=router.registry) as sim:
        limited = replace(native, base_url=sim.base_url)
        CLIENT.call(limited, ask(), timeout_s=5)
        with pytest.raises(CallFailed) as caught:
            CLIENT.call(limited, ask(), timeout_s=5)

    assert caught.value.error_class is ErrorClass.RATE_LIMIT
    assert [(told.rate, told.remaining) for told in caught.value.limits] == [("requests", 0)]


async def test_calls_side_by_side_count_their_own_tokens(native: Expert, sim: Simulation) -> None:
    for size in range(1, 6):
        sim.reply_with("gpt-4o", f"{size}", usage=Usage(input_tokens=size, output_tokens=size))
    replies = await asyncio.gather(*(CLIENT.acall(native, ask(), timeout_s=5) for _ in range(5)))
    assert all(reply.usage.input_tokens == int(reply.text) for reply in replies)


def test_tool_calls_in_openais_shape(native: Expert, sim: Simulation) -> None:
    sim.reply_with("gpt-4o", tool_calls=[{"name": "count", "arguments": {"to": 3}}])
    (call,) = CLIENT.call(native, ask(tools=[TOOL]), timeout_s=5).tool_calls
    assert call["function"] == {"name": "count", "arguments": '{"to": 3}'}


def test_stream_gives_pieces_and_the_whole(native: Expert, sim: Simulation) -> None:
    sim.reply_with("gpt-4o", "one two three four")
    pieces = list(CLIENT.stream(native, ask(), timeout_s=5))
    assert "".join(piece.text for piece in pieces) == "one two three four"
    assert len(pieces) > 2
    assert pieces[-1].reply is not None
    assert pieces[-1].reply.text == "one two three four"


async def test_asynchronous_stream(native: Expert, sim: Simulation) -> None:
    sim.reply_with("gpt-4o", "one two three four")
    pieces = [piece async for piece in CLIENT.astream(native, ask(), timeout_s=5)]
    assert "".join(piece.text for piece in pieces) == "one two three four"


@pytest.mark.parametrize(
    ("error", "expected"),
    [(429, ErrorClass.RATE_LIMIT), (500, ErrorClass.SERVER), (401, ErrorClass.AUTH), (404, ErrorClass.NOT_FOUND)],
)
def test_failures_are_told_once(error: int, expected: ErrorClass, native: Expert, router: Router) -> None:
    script = {"rules": [{"expert": "gpt-4o", "error": error}]}
    with simulate(script, speed=0, registry=router.registry) as sim:
        failing = replace(native, base_url=sim.base_url)
        with pytest.raises(CallFailed) as caught:
            CLIENT.call(failing, ask(), timeout_s=5)
        assert caught.value.error_class is expected
        assert len(sim.requests) == 1


def test_dead_provider_and_silence(native: Expert, sim: Simulation, router: Router) -> None:
    sim.kill("openai")
    with pytest.raises(CallFailed) as caught:
        CLIENT.call(native, ask(), timeout_s=5)
    assert caught.value.error_class is ErrorClass.CONNECTION
    with simulate({"rules": [{"expert": "gpt-4o", "error": "timeout"}]}, registry=router.registry) as silent:
        with pytest.raises(CallFailed) as caught:
            CLIENT.call(replace(native, base_url=silent.base_url), ask(), timeout_s=0.2)
        assert caught.value.error_class is ErrorClass.TIMEOUT


def test_errors_hide_the_prompt(native: Expert, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_llm: Any, messages: Any, **_: Any) -> None:
        raise ValueError(f"invalid: {messages[-1]['content']}")

    monkeypatch.setattr(OpenAICompletion, "call", refuse)
    with pytest.raises(CallFailed) as caught:
        CLIENT.call(native, ask("Patient Ada Lovelace has gout"), timeout_s=5)
    assert "Lovelace" not in str(caught.value)


async def test_calls_wait_for_no_thread_of_the_loops_pool(native: Expert, monkeypatch: pytest.MonkeyPatch) -> None:
    CLIENT.call(native, ask(), timeout_s=5)  # makes the model, which takes a while
    together = Barrier(40)  # more than the pool of any machine has threads

    def answer(_llm: Any, **_: Any) -> str:
        together.wait(timeout=10)
        return "fine"

    monkeypatch.setattr(OpenAICompletion, "call", answer)
    replies = await asyncio.gather(*(CLIENT.acall(native, ask(), timeout_s=10) for _ in range(40)))
    assert {reply.text for reply in replies} == {"fine"}


async def test_silence_ends_an_asynchronous_call_too(native: Expert, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Event()
    monkeypatch.setattr(OpenAICompletion, "call", lambda _llm, **_: asked.wait(10))
    with pytest.raises(CallFailed) as caught:
        await CLIENT.acall(native, ask(), timeout_s=0.05)
    asked.set()
    assert caught.value.error_class is ErrorClass.TIMEOUT


def test_errors_hide_the_key() -> None:
    failure = failure_of(RuntimeError("bad key sk-very-secret-0123456789"), private=["sk-very-secret-0123456789"])
    assert "secret" not in str(failure)


def test_missing_sdk_blames_nobody() -> None:
    assert failure_of(ImportError("no anthropic")).error_class is ErrorClass.REFUSED


@pytest.fixture
def mixed(native: Expert, router: Router) -> Iterator[Router]:
    """A router whose gpt-4o is native."""
    experts = [native if expert.expert_id == "gpt-4o" else expert for expert in router.registry]
    with Router(
        registry=Registry(experts=tuple(experts)), policy=router.policy, state=router.state, log=router.log
    ) as made:
        yield made


def test_crew_on_a_native_expert_has_one_start_event_a_call(
    mixed: Router, sim: Simulation, agent: Any, task: Any
) -> None:
    started: list[Any] = []
    member: Agent = agent(llm="gpt-4o")
    work: Task = task("write", member)
    with crewai_event_bus.scoped_handlers():
        crewai_event_bus.register_handler(LLMCallStartedEvent, lambda _, event: started.append(event.call_id))
        crew = attach(Crew(agents=[member], tasks=[work]), router=mixed)
        output = run(crew)
        crewai_event_bus.flush()
    (row,) = report(crew).tasks
    assert (row.expert_id, len(started), len(sim.requests)) == ("gpt-4o", 1, 1)
    assert tokens(output) == (row.input_tokens, row.output_tokens)
