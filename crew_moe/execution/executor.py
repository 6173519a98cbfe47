"""Carries a decision out: calls its experts in order until one answers, whole or streamed, sync or async."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TypeVar

from crew_moe.domain.chat import ChatChunk, ChatReply, ChatRequest
from crew_moe.domain.outcome import Attempt, ErrorClass
from crew_moe.domain.policy import Limits
from crew_moe.domain.registry import Registry
from crew_moe.execution.circuits import Circuits, LastKnown
from crew_moe.execution.clearance import Barrier
from crew_moe.execution.failure import CallFailed
from crew_moe.execution.route import Answer, AnswerChunk, Route
from crew_moe.execution.run import Ask, Run, Surroundings
from crew_moe.execution.trail import Wait
from crew_moe.execution.transports import Transports
from crew_moe.gating.off_loop import off_loop
from crew_moe.ports import Clock, EventSink, StateStore

__all__ = ["Answer", "AnswerChunk", "Executor", "Route"]

T = TypeVar("T")


class Executor:
    """Attempts, fallbacks, breakers, waits and caps of one call, by the table in `execution.trail`.

    `report` is given every attempt as it ends, skips and open circuits included; it must not raise. `blocking` tells
    that the stores behind wait for a disk or a server. All four methods raise ExecutionFailed with the whole trail when
    nobody answered, and UnknownExpert before anything is called.
    """

    def __init__(
        self,
        *,
        registry: Callable[[], Registry],
        client: Transports,
        state: StateStore,
        barrier: Barrier,
        known: LastKnown | None = None,
        limits: Limits,
        clock: Clock,
        report: Callable[[Route, Attempt], None],
        sink: EventSink,
        blocking: bool = False,
        sleep: Callable[[float], None] = time.sleep,
        asleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.client = client
        self._sleep = sleep
        self._asleep = asleep
        self._blocking = blocking
        self._around = Surroundings(
            registry=registry,
            circuits=Circuits(state=state, clock=clock, sink=sink, known=known),
            barrier=barrier,
            limits=limits,
            clock=clock,
            report=report,
            sink=sink,
        )

    def run(self, route: Route, chat: ChatRequest) -> Answer:
        """The first answer that an expert gives."""
        with Run(self._around, route, chat) as run:
            while not isinstance(step := run.step(), Answer):
                if isinstance(step, Wait):
                    self._sleep(step.ms / 1000.0)
                    run.waited()
                else:
                    run.settle(self._call(step))
        return step

    async def arun(self, route: Route, chat: ChatRequest) -> Answer:
        """As `run`; being cancelled ends the call that is in flight."""
        async with self._running(route, chat) as run:
            while not isinstance(step := await self._step(run), Answer):
                if isinstance(step, Wait):
                    await self._asleep(step.ms / 1000.0)
                    run.waited()
                else:
                    result = await self._acall(step)
                    await self._off_loop(partial(run.settle, result))
        return step

    def stream(self, route: Route, chat: ChatRequest) -> Iterator[AnswerChunk]:
        """The answer as it comes, the last piece with the whole Answer.

        Another expert takes over only before the first piece; a stream that breaks after it raises ExecutionFailed.
        """
        with Run(self._around, route, chat) as run:
            while not isinstance(step := run.step(), Answer):
                if isinstance(step, Wait):
                    self._sleep(step.ms / 1000.0)
                    run.waited()
                else:
                    yield from self._pieces(run, step)
        yield AnswerChunk(reply=step.reply, expert_id=step.expert_id, answer=step)

    async def astream(self, route: Route, chat: ChatRequest) -> AsyncIterator[AnswerChunk]:
        """As `stream`, for event loops."""
        async with self._running(route, chat) as run:
            while not isinstance(step := await self._step(run), Answer):
                if isinstance(step, Wait):
                    await self._asleep(step.ms / 1000.0)
                    run.waited()
                else:
                    async with _aclosed(self._apieces(run, step)) as pieces:
                        async for piece in pieces:
                            yield piece
        yield AnswerChunk(reply=step.reply, expert_id=step.expert_id, answer=step)

    def close(self) -> None:
        """Close the clients' connections."""
        self.client.close()

    def _call(self, ask: Ask) -> ChatReply | CallFailed:
        try:
            return self.client.call(ask.expert, ask.request, timeout_s=ask.timeout_s)
        except CallFailed as failure:
            return failure

    async def _acall(self, ask: Ask) -> ChatReply | CallFailed:
        try:
            return await self.client.acall(ask.expert, ask.request, timeout_s=ask.timeout_s)
        except CallFailed as failure:
            return failure

    def _pieces(self, run: Run, ask: Ask) -> Iterator[AnswerChunk]:
        """The pieces of one expert's stream; settles the run when it ends."""
        shown = 0
        result: ChatReply | CallFailed = CallFailed(ErrorClass.MALFORMED, "a stream without an end")
        try:
            with _closed(self.client.stream(ask.expert, ask.request, timeout_s=ask.timeout_s)) as chunks:
                for chunk in chunks:
                    run.alive()
                    result = chunk.reply or result
                    if chunk.text or chunk.calls:
                        shown += _length(chunk)
                        yield _piece(run, ask, chunk)
        except CallFailed as failure:
            result = result if isinstance(result, ChatReply) else failure
        run.settle(result, shown=shown)

    async def _apieces(self, run: Run, ask: Ask) -> AsyncIterator[AnswerChunk]:
        """As `_pieces`, for event loops."""
        shown = 0
        result: ChatReply | CallFailed = CallFailed(ErrorClass.MALFORMED, "a stream without an end")
        try:
            async with _aclosed(self.client.astream(ask.expert, ask.request, timeout_s=ask.timeout_s)) as chunks:
                async for chunk in chunks:
                    run.alive()
                    result = chunk.reply or result
                    if chunk.text or chunk.calls:
                        shown += _length(chunk)
                        yield _piece(run, ask, chunk)
        except CallFailed as failure:
            result = result if isinstance(result, ChatReply) else failure
        await self._off_loop(partial(run.settle, result, shown=shown))

    @asynccontextmanager
    async def _running(self, route: Route, chat: ChatRequest) -> AsyncIterator[Run]:
        """As a run does by itself; where its caller leaves an open call, the loop goes on meanwhile."""
        run = Run(self._around, route, chat)
        try:
            yield run
        finally:
            if run.is_open:
                await self._off_loop(run.give_up)

    async def _step(self, run: Run) -> Ask | Wait | Answer:
        """The run's next step; one that is cancelled has sent nothing."""
        return await self._off_loop(run.step, undo=lambda _: run.unsent())

    async def _off_loop(self, act: Callable[[], T], *, undo: Callable[[T], object] | None = None) -> T:
        """`act` where it does not keep the loop from going on."""
        return await off_loop(act, undo=undo) if self._blocking else act()


def _piece(run: Run, ask: Ask, chunk: ChatChunk) -> AnswerChunk:
    return AnswerChunk(text=chunk.text, calls=chunk.calls, expert_id=ask.expert.expert_id, before=run.rows)


def _length(chunk: ChatChunk) -> int:
    """Characters that the reader of a stream gets to see."""
    return len(chunk.text) + sum(len(call["function"]["arguments"]) for call in chunk.calls)


@contextmanager
def _closed(chunks: Iterator[T]) -> Iterator[Iterator[T]]:
    """Close a generator when its reader leaves, not when it is collected: the connection waits for that."""
    try:
        yield chunks
    finally:
        if isinstance(chunks, Generator):
            chunks.close()


@asynccontextmanager
async def _aclosed(chunks: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    try:
        yield chunks
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
