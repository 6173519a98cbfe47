"""The executor and the client together, against simulated providers over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import combinations
from typing import Any

import pytest

from crew_moe.clock import SystemClock
from crew_moe.domain.chat import ChatRequest
from crew_moe.domain.expert import Transport
from crew_moe.domain.registry import Registry
from crew_moe.domain.usage import Usage
from crew_moe.errors import ExecutionFailed
from crew_moe.execution.client import OpenAIClient
from crew_moe.execution.executor import Executor
from crew_moe.execution.transports import Transports
from crew_moe.sim import Simulation, simulate
from crew_moe.state.memory.store import MemoryStore
from crew_moe.telemetry.events import Recorder
from tests.execution.given import BREAKER, CHAT, EXPERTS, LIMITS, route, stage, trace


@contextmanager
def crew_of(rules: list[Mapping[str, Any]] | None = None) -> Iterator[tuple[Executor, Simulation]]:
    """An executor whose experts are played by a simulation, each provider on a port of its own."""
    registry = Registry(experts=EXPERTS)
    with simulate({"speed": 0.0, "rules": rules or []}, registry=registry) as sim:
        client = OpenAIClient(base_url_for=lambda expert: sim.base_url_of(expert.provider), key_for=lambda _: None)
        executor = Executor(
            registry=lambda: registry,
            client=Transports({Transport.OPENAI: client}),
            state=MemoryStore(BREAKER),
            barrier=stage().barrier(),
            limits=LIMITS,
            clock=SystemClock(),
            report=lambda *_: None,
            sink=Recorder(),
            sleep=lambda _: None,
        )
        yield executor, sim
        executor.close()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (429, "rate_limit"),
        (500, "server"),
        (401, "auth"),
        (404, "not_found"),
        ("reset", "connection"),
        ("malformed", "malformed"),
        ("timeout", "timeout"),
        ("slow_drip", "timeout"),
    ],
)
def test_every_fault_of_a_provider_ends_in_a_fallback(error: int | str, expected: str) -> None:
    patience_ms = 2_000.0 if expected == "timeout" else 60_000.0  # nothing but a timeout may end an attempt early
    slowly = {"drip_ms": 10_000} if error == "slow_drip" else {}
    with crew_of([{"expert": "a", "error": error, **slowly}]) as (executor, _):
        answer = executor.run(route(attempt_timeout_ms=patience_ms), CHAT)

    assert trace(answer.attempts) == [("a", expected), ("b", None)]


def test_stream_cut_after_its_first_words_is_told() -> None:
    with crew_of([{"expert": "a", "error": "cut_stream"}]) as (executor, sim):
        sim.reply_with("a", "The capital of France is Paris, as everybody knows.")
        pieces = executor.stream(route(), CHAT)
        with pytest.raises(ExecutionFailed, match=r"after \d+ characters"):
            list(pieces)


def test_usage_and_cost_are_what_the_provider_charges() -> None:
    with crew_of() as (executor, sim):
        sim.reply_with("a", "Paris.", usage=Usage(input_tokens=1_000, output_tokens=100))
        answer = executor.run(route(), CHAT)

    assert answer.usage == Usage(input_tokens=1_000, output_tokens=100)
    assert str(answer.cost_usd) == "0.002"


async def test_streamed_usage_is_the_same_as_whole() -> None:
    with crew_of() as (executor, _):
        whole = await executor.arun(route(), CHAT)
        pieces = [piece async for piece in executor.astream(route(), CHAT)]

    assert pieces[-1].answer is not None
    assert pieces[-1].answer.usage == whole.usage
    assert "".join(piece.text for piece in pieces) == whole.reply.text


def test_conversation_goes_on_with_another_provider() -> None:
    call = {"name": "look", "arguments": {"q": "France"}}
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    with crew_of() as (executor, sim):
        sim.reply_with("a", tool_calls=[call])
        first = executor.run(route(), ChatRequest(messages=CHAT.messages, tools=(tool,)))
        said = {"role": "assistant", "content": None, "tool_calls": list(first.reply.tool_calls)}
        found = {"role": "tool", "tool_call_id": first.reply.tool_calls[0]["id"], "content": "Paris"}
        sim.kill("one")
        second = executor.run(route(), ChatRequest(messages=[*CHAT.messages, said, found], tools=(tool,)))
        sent = sim.requests[-1].messages

    assert trace(second.attempts) == [("a", "connection"), ("b", None)]
    assert sent[-1]["tool_call_id"] == sent[-2]["tool_calls"][0]["id"]


@pytest.mark.parametrize("dead", [names for size in range(4) for names in combinations(("one", "two", "three"), size)])
def test_any_set_of_dead_providers_is_survived_or_told(dead: tuple[str, ...]) -> None:
    alive = [expert.expert_id for expert in EXPERTS if expert.provider not in dead]
    with crew_of() as (executor, sim):
        for provider in dead:
            sim.kill(provider)
        try:
            attempts = executor.run(route(), CHAT).attempts
        except ExecutionFailed as failed:
            attempts = failed.attempts

    tried = [expert.expert_id for expert in EXPERTS][: len(attempts)]
    assert [row.expert_id for row in attempts] == tried
    assert [row.expert_id for row in attempts if row.ok] == alive[:1]


def test_a_dead_provider_is_left_alone_once_its_circuit_is_open() -> None:
    with crew_of() as (executor, sim):
        sim.kill("one")
        for _ in range(BREAKER.failures):
            executor.run(route(), CHAT)
        answer = executor.run(route(), CHAT)

    assert trace(answer.attempts) == [("a", "circuit_open"), ("b", None)]


def test_threads_and_a_loop_at_once() -> None:
    async def many(executor: Executor) -> list[str]:
        return [answer.expert_id for answer in await asyncio.gather(*(executor.arun(route(), CHAT) for _ in range(20)))]

    with crew_of() as (executor, sim), ThreadPoolExecutor(9) as threads:
        looped = threads.submit(asyncio.run, many(executor))
        threaded = [threads.submit(executor.run, route(), CHAT) for _ in range(20)]

        assert {future.result().expert_id for future in threaded} | set(looped.result()) == {"a"}
        assert len(sim.requests) == 40
