"""A client whose calls are traced: each one a span, which the provider is told of."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from typing import Final

from crew_moe.domain.chat import ChatChunk, ChatReply, ChatRequest
from crew_moe.domain.expert import Expert
from crew_moe.execution.failure import CallFailed
from crew_moe.ports import LLMClient
from crew_moe.telemetry.passing import passing_on
from crew_moe.telemetry.tracing import CallSpan, Tracing

LEFT: Final = "cancelled"
CUT: Final = "cut_stream"


class TracedClient:
    """Implements ports.LLMClient by `client`."""

    def __init__(self, client: LLMClient, tracing: Tracing) -> None:
        self._client = client
        self._tracing = tracing

    def call(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply:
        span = self._tracing.call(expert, request)
        with _ending(span), _told(span):
            reply = self._client.call(expert, request, timeout_s=timeout_s)
        _answered(span, reply)
        return reply

    async def acall(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply:
        span = self._tracing.call(expert, request)
        with _ending(span), _told(span):
            reply = await self._client.acall(expert, request, timeout_s=timeout_s)
        _answered(span, reply)
        return reply

    def stream(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> Iterator[ChatChunk]:
        span = self._tracing.call(expert, request)
        chunks, reply = self._client.stream(expert, request, timeout_s=timeout_s), None
        with _ending(span):
            try:
                with _told(span):  # the call begins with the first piece
                    chunk = next(chunks, None)
                while chunk is not None:
                    reply = chunk.reply or reply
                    yield chunk
                    chunk = next(chunks, None)
            finally:
                if isinstance(chunks, Generator):
                    chunks.close()
        _answered(span, reply)

    async def astream(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> AsyncIterator[ChatChunk]:
        span = self._tracing.call(expert, request)
        chunks, reply = self._client.astream(expert, request, timeout_s=timeout_s), None
        with _ending(span):
            try:
                with _told(span):
                    chunk = await anext(chunks, None)
                while chunk is not None:
                    reply = chunk.reply or reply
                    yield chunk
                    chunk = await anext(chunks, None)
            finally:
                if isinstance(chunks, AsyncGenerator):
                    await chunks.aclose()
        _answered(span, reply)

    def close(self) -> None:
        self._client.close()


@contextmanager
def _told(span: CallSpan | None) -> Iterator[None]:
    """Calls that begin inside tell the provider of their span."""
    with passing_on({} if span is None else span.headers):
        yield


@contextmanager
def _ending(span: CallSpan | None) -> Iterator[None]:
    """End the span of a call that does not come to its end."""
    try:
        yield
    except CallFailed as failure:
        if span is not None:
            span.failed(failure.error_class.value, failure.status)
        raise
    except BaseException:
        if span is not None:
            span.failed(LEFT)
        raise


def _answered(span: CallSpan | None, reply: ChatReply | None) -> None:
    if span is not None:
        span.failed(CUT) if reply is None else span.answered(reply)
