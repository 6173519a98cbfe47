"""The routed model as an object: copies, restored models, cancelled calls, and what it costs."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from statistics import median
from threading import Barrier
from typing import Any

import pytest
from crewai import Agent, Crew

from crew_moe.crew import RoutedLLM, attach, report
from crew_moe.domain.chat import ChatChunk, ChatReply, ChatRequest
from crew_moe.domain.expert import Expert, Transport
from crew_moe.domain.usage import Usage
from crew_moe.errors import CrewMoEError
from crew_moe.router import Router
from crew_moe.sim import Simulation

Make = Callable[..., Any]


def model_of(crew: Crew) -> RoutedLLM:
    model = crew.agents[0].llm
    assert isinstance(model, RoutedLLM)
    return model


@pytest.fixture
def model(crew: Crew, router: Router) -> RoutedLLM:
    return model_of(attach(crew, router=router))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda model: model.model_copy()])
def test_copy_sits_on_the_same_seat_with_counters_of_its_own(copied: Make, model: RoutedLLM) -> None:
    model.call("How are you?")
    twin = copied(model)
    assert twin.seat is model.seat
    assert model.get_token_usage_summary().successful_requests == 1
    assert twin.get_token_usage_summary().total_tokens == 0


def test_rebuilt_model_finds_its_seat(model: RoutedLLM) -> None:
    fields = {name: value for name, value in model.model_dump().items() if value is not None}
    assert RoutedLLM(**fields).seat is model.seat


def test_restored_model_needs_its_crew_attached_again(crew: Crew, router: Router) -> None:
    crew.agents[0].llm = RoutedLLM(model="crew-moe/auto", additional_params={"crew_moe_seat": "gone"})
    with pytest.raises(CrewMoEError, match="attach its crew again"):
        crew.agents[0].llm.call("How are you?")
    attach(crew, router=router)
    assert model_of(crew).call("How are you?")


def test_answer_is_counted_for_the_model_and_the_report(model: RoutedLLM, sim: Simulation, crew: Crew) -> None:
    for expert in model.seat.dispatcher.router.registry:
        sim.reply_with(expert.expert_id, "fine", usage=Usage(input_tokens=7, output_tokens=2, cached_tokens=1))
    model.call("How are you?")
    counted = model.get_token_usage_summary()
    assert (counted.prompt_tokens, counted.completion_tokens, counted.cached_prompt_tokens) == (7, 2, 1)
    assert report(crew).seats[0].input_tokens == 7


def test_tokens_are_estimated_without_a_warning(model: RoutedLLM, caplog: pytest.LogCaptureFixture) -> None:
    assert model.get_input_tokens_count("word " * 100) > 100
    assert model.get_input_tokens_count([{"role": "user", "content": "word " * 100}]) > 100
    assert caplog.records == []


def test_function_that_comes_with_the_call_is_run(model: RoutedLLM, sim: Simulation) -> None:
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
    for expert in model.seat.dispatcher.router.registry:
        sim.reply_with(expert.expert_id, tool_calls=[{"name": "add", "arguments": {"a": 2, "b": 3}}])
    result = model.call("2 + 3", tools=tools, available_functions={"add": lambda a, b: a + b})
    assert result == "5"


class Stuck:
    """A provider that never answers."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    def call(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply:
        raise NotImplementedError

    async def acall(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply:  # noqa: ARG002
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    def stream(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> Iterator[ChatChunk]:
        raise NotImplementedError

    def astream(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> AsyncIterator[ChatChunk]:
        raise NotImplementedError

    def close(self) -> None: ...


async def test_cancelled_call_is_booked_at_its_worst(crew: Crew, router: Router, routing: Make) -> None:
    stuck = Stuck()
    attach(crew, routing("default: {pin: gpt-4o, budget_usd: 1}"), router=router)
    router.executor.client.register(Transport.OPENAI, stuck)
    model = model_of(crew)
    call = asyncio.create_task(model.acall("How are you?", from_task=crew.tasks[0]))
    await stuck.asked.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    held = [one for one in router.budgets.status() if one.scope.startswith("task:")]
    assert [one.limit_usd for one in held] == [1]
    assert held[0].reserved_usd > 0


class Instant(Stuck):
    """A provider that has answered already."""

    def call(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply:  # noqa: ARG002
        return ChatReply(text="fine", usage=Usage(input_tokens=5, output_tokens=1))


def a_millisecond() -> object:
    """About as much work as a machine with nothing else to do gets done in one; a busy one takes longer for it."""
    return [{"number": number, "name": str(number)} for number in range(6_000)]


def test_routing_adds_less_than_a_millisecond(crew: Crew, router: Router) -> None:
    model = model_of(attach(crew, router=router))
    router.executor.client.register(Transport.OPENAI, Instant())
    messages = [{"role": "system", "content": "You are one. " * 20}, {"role": "user", "content": "Analyse " * 50}]
    call = partial(model.call, messages, from_task=crew.tasks[0], from_agent=crew.agents[0])
    acts: tuple[Callable[[], object], ...] = (call, a_millisecond)
    spent: list[list[float]] = [[], []]
    for _ in range(300):
        for act, seconds in zip(acts, spent, strict=True):
            began = time.thread_time()
            act()
            seconds.append(time.thread_time() - began)
    assert median(spent[0]) < median(spent[1])


def test_threads_count_every_token(model: RoutedLLM, router: Router) -> None:
    router.executor.client.register(Transport.OPENAI, Instant())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda index: model.call(f"Question {index}"), range(80)))
    counted = model.get_token_usage_summary()
    assert (counted.prompt_tokens, counted.successful_requests) == (400, 80)


def test_attempts_of_one_task_side_by_side_are_all_remembered(crew: Crew, router: Router, routing: Make) -> None:
    model = model_of(attach(crew, routing("default: {pin: gpt-4o}"), router=router))
    router.executor.client.register(Transport.OPENAI, Together(8))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: model.call("Hello", from_task=crew.tasks[0]), range(8)))
    (row,) = report(crew).tasks
    assert sorted(attempt.number for attempt in row.attempts) == list(range(1, 9))
    assert len(router.outcomes.served(str(row.decision_id))) == 8
    assert sum(router.stats()["calls"].values()) == pytest.approx(8, abs=0.01)


async def test_call_after_one_that_was_given_up_has_numbers_of_its_own(
    crew: Crew, router: Router, routing: Make
) -> None:
    stuck = Stuck()
    model = model_of(attach(crew, routing("default: {pin: gpt-4o}"), router=router))
    router.executor.client.register(Transport.OPENAI, stuck)
    call = asyncio.create_task(model.acall("How are you?", from_task=crew.tasks[0]))
    await stuck.asked.wait()
    call.cancel()
    await asyncio.wait([call])
    router.executor.client.register(Transport.OPENAI, Instant())
    model.call("How are you?", from_task=crew.tasks[0])
    (row,) = report(crew).tasks
    assert [entry["ok"] for entry in router.outcomes.served(str(row.decision_id))] == [False, True]


class Together(Stuck):
    """A provider that answers nobody before all have asked."""

    def __init__(self, callers: int) -> None:
        super().__init__()
        self.all = Barrier(callers, timeout=10)

    def call(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply:  # noqa: ARG002
        self.all.wait()
        return ChatReply(text="fine", usage=Usage(input_tokens=5, output_tokens=1))


def test_calls_of_one_task_side_by_side_keep_to_its_budget(crew: Crew, router: Router, routing: Make) -> None:
    path = routing("default: {pin: gpt-4o, budget_usd: 0.02, max_output_tokens: 100}")
    model = model_of(attach(crew, path, router=router))
    router.executor.client.register(Transport.OPENAI, Greedy())

    def ask(_: int) -> bool:
        try:
            model.call("Hello", from_task=crew.tasks[0])
        except CrewMoEError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        answered = sum(pool.map(ask, range(64)))
    assert 0 < answered < 64
    assert report(crew).cost_usd <= Decimal("0.02")


class Greedy(Stuck):
    """A provider whose answers are as long as they may be."""

    def call(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply:  # noqa: ARG002
        return ChatReply(text="x", usage=Usage(input_tokens=20, output_tokens=request.max_output_tokens or 0))


def test_agent_alone_can_be_asked_asynchronously(crew: Crew, router: Router) -> None:
    attach(crew, router=router)
    member = crew.agents[0]
    assert isinstance(member, Agent)
    answer = asyncio.run(member.kickoff_async("What is rain?"))
    assert answer.raw
