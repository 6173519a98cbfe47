"""One call of an expert that the local gate hosts: in this process, or where another one serves the gate."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from crew_moe.domain.chat import ChatChunk, ChatReply, ChatRequest
from crew_moe.domain.expert import Expert
from crew_moe.domain.local_work import Asked, LocalRefusal, Processed, Trouble
from crew_moe.domain.outcome import ErrorClass
from crew_moe.domain.usage import Usage
from crew_moe.errors import CrewMoEError
from crew_moe.execution.conversation import text_of
from crew_moe.execution.failure import CallFailed
from crew_moe.execution.loop import LoopThread
from crew_moe.execution.stops import StopCutter, cut
from crew_moe.ports import LLMClient

if TYPE_CHECKING:
    from crew_moe.local_gate.serving import LocalGate

T = TypeVar("T")

PREFIX: Final = "local/"
AUTO: Final = "auto"
CLOSED: Final = "the client was closed"

# What was wrong with the request is nobody's failure; what is not set up here may well be elsewhere.
CLASSES: Final[Mapping[Trouble, ErrorClass]] = {
    Trouble.INVALID_INPUT: ErrorClass.BAD_REQUEST,
    Trouble.NOT_CAPABLE: ErrorClass.BAD_REQUEST,
    Trouble.INPUT_TOO_LONG: ErrorClass.CONTEXT_OVERFLOW,
    Trouble.UNKNOWN_EXPERT: ErrorClass.SKIPPED,
    Trouble.MISSING_EXTRA: ErrorClass.SKIPPED,
    Trouble.MISSING_WEIGHTS: ErrorClass.SKIPPED,
    Trouble.CANCELLED: ErrorClass.SKIPPED,
    Trouble.BAD_WEIGHTS: ErrorClass.SERVER,
    Trouble.OUT_OF_MEMORY: ErrorClass.SERVER,
    Trouble.MODEL_FAILED: ErrorClass.SERVER,
    Trouble.UNAVAILABLE: ErrorClass.CONNECTION,
    Trouble.OVERLOADED: ErrorClass.RATE_LIMIT,
    Trouble.TIMEOUT: ErrorClass.TIMEOUT,
}


class HostedClient:
    """ports.LLMClient over a local gate, which `opened` opens at the first call. An expert that has an address is
    reached there, through `elsewhere`.

    The gate sees the last message of the user and chooses by it; a host that takes chats gets the whole one.
    """

    def __init__(
        self,
        opened: Callable[[], LocalGate],
        *,
        elsewhere: LLMClient | None = None,
        url_for: Callable[[Expert], str | None] | None = None,
    ) -> None:
        self._opened = opened
        self._elsewhere = elsewhere
        self._url_for = url_for
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._engine: LocalGate | None = None
        self._loop: LoopThread | None = None
        self._closed = False

    def call(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply:
        """The whole answer. Raises CallFailed."""
        if (elsewhere := self._client(expert)) is not None:
            return elsewhere.call(expert, request, timeout_s=timeout_s)
        return _reply(request, self._gate().call(_asked(expert, request, timeout_s)))

    async def acall(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply:
        """As `call`, on an event loop; being cancelled ends the work."""
        if (elsewhere := self._client(expert)) is not None:
            return await elsewhere.acall(expert, request, timeout_s=timeout_s)
        return _reply(request, await self._gate().process(_asked(expert, request, timeout_s)))

    def stream(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> Iterator[ChatChunk]:
        """The answer as it comes; closing the iterator ends the work. Raises CallFailed."""
        if (elsewhere := self._client(expert)) is not None:
            yield from elsewhere.stream(expert, request, timeout_s=timeout_s)
            return
        pieces = self.astream(expert, request, timeout_s=timeout_s)
        try:
            while (chunk := self._wait(anext(pieces, None))) is not None:
                yield chunk
        finally:
            if not self._closed:  # else the gate that it came from has ended it
                self._wait(pieces.aclose())

    async def astream(
        self, expert: Expert, request: ChatRequest, *, timeout_s: float
    ) -> AsyncGenerator[ChatChunk, None]:
        """As `stream`, on an event loop."""
        if (elsewhere := self._client(expert)) is not None:
            async for chunk in elsewhere.astream(expert, request, timeout_s=timeout_s):
                yield chunk
        elif request.tools or request.response_format:  # such an answer is of one piece
            reply = await self.acall(expert, request, timeout_s=timeout_s)
            yield ChatChunk(text=reply.text, reply=reply)
        else:
            async for chunk in _chunks(request, self._gate().stream(_asked(expert, request, timeout_s))):
                yield chunk

    def close(self) -> None:
        """Give back what was opened: models and threads. Every later call in this process fails."""
        with self._lock:
            self._closed = True
            engine, self._engine = self._engine, None
            loop, self._loop = self._loop, None
        if engine is not None and self._pid == os.getpid():  # a fork's parent goes on with its own
            engine.close()
        if loop is not None:
            loop.stop()

    def _client(self, expert: Expert) -> LLMClient | None:
        """Who reaches an expert that is not in this process."""
        return self._elsewhere if self._url_for is not None and self._url_for(expert) else None

    def _gate(self) -> LocalGate:
        with self._lock:
            if self._closed:
                raise _closed()
            if self._engine is None or self._pid != os.getpid():  # a fork takes no threads along
                self._pid, self._engine = os.getpid(), self._open()
            return self._engine

    def _open(self) -> LocalGate:
        try:
            return self._opened()
        except CrewMoEError as error:
            failure = CallFailed(ErrorClass.SKIPPED, str(error), sent=False)
        raise failure

    def _wait(self, work: Awaitable[T]) -> T:
        """What comes of the work, done in a thread: the caller's own loop, if it has one, stands still meanwhile."""
        with self._lock:
            if self._closed:
                raise _closed()
            if self._loop is None or not self._loop.alive:
                self._loop = LoopThread("crew-moe-hosted", closed=_closed)
            future = self._loop.submit(_awaited(work))
        try:
            return future.result()
        except BaseException:  # also an interrupt of this thread: the work must not go on behind the caller's back
            future.cancel()
            raise


def _asked(expert: Expert, request: ChatRequest, timeout_s: float) -> Asked:
    name = expert.provider_model.removeprefix(PREFIX)
    return Asked(
        text=_text(request),
        expert=None if name == AUTO else name,
        tier=expert.tier,
        timeout_s=timeout_s,
        chat=request,
    )


def _text(request: ChatRequest) -> str:
    """What was said last by whoever asks; where nobody does, what was said last."""
    by_user = [message for message in request.messages if message.get("role") == "user"]
    return text_of((by_user or list(request.messages))[-1].get("content")) if request.messages else ""


def _reply(request: ChatRequest, found: Processed | LocalRefusal) -> ChatReply:
    if isinstance(found, LocalRefusal):
        raise _failure(found)
    if isinstance(found.reply, ChatReply):
        return replace(found.reply, text=cut(found.reply.text, request.stop))
    return ChatReply(
        text=cut(str(found.result), request.stop),
        finish_reason=found.finish_reason,
        usage=Usage(input_tokens=found.input_tokens, output_tokens=found.output_tokens),
        model=f"{PREFIX}{found.expert_used}",
    )


def _failure(refusal: LocalRefusal) -> CallFailed:
    told = "; ".join((refusal.what, *refusal.next_steps))
    wait_ms = None if refusal.retry_after_s is None else refusal.retry_after_s * 1000
    return CallFailed(CLASSES[refusal.trouble], told, retry_after_ms=wait_ms, sent=False)


async def _chunks(
    request: ChatRequest, coming: AsyncGenerator[str | Processed | LocalRefusal, None]
) -> AsyncIterator[ChatChunk]:
    """The pieces up to a stop word, then what was held back, with the whole, which may also come without pieces."""
    cutter, begun = StopCutter(request.stop), False
    async with aclosing(coming) as pieces:
        async for piece in pieces:
            if not isinstance(piece, str):
                reply = _reply(request, piece)
                yield ChatChunk(text=cutter.rest() if begun else reply.text, reply=reply)
            elif text := cutter.feed(piece):
                yield ChatChunk(text=text)
            begun = True


async def _awaited(work: Awaitable[T]) -> T:
    return await work


def _closed() -> CallFailed:
    return CallFailed(ErrorClass.SKIPPED, CLOSED, sent=False)
