"""Which client reaches an expert: a table by transport, itself an LLMClient."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Protocol, runtime_checkable

from crew_moe.domain.chat import ChatChunk, ChatReply, ChatRequest
from crew_moe.domain.expert import Expert, Transport
from crew_moe.domain.outcome import ErrorClass
from crew_moe.errors import MissingExtra
from crew_moe.execution.failure import CallFailed
from crew_moe.execution.stops import cut
from crew_moe.local_gate import extractive
from crew_moe.ports import LLMClient


@runtime_checkable
class Settling(Protocol):
    """A client that can do without a thread of its own where a loop stays."""

    def at_home(self) -> AbstractAsyncContextManager[None]: ...


class Transports:
    """Passes each call to the client that is registered for the expert's transport.

    The in-process client for `extractive` is there from the start, and `services` serves those experts that registered
    while the router ran. An expert whose transport has no client here fails
    without a verdict: another process may well reach it.
    """

    def __init__(self, clients: dict[Transport, LLMClient] | None = None, *, services: LLMClient | None = None) -> None:
        self._services = services
        self._clients: dict[Transport, LLMClient] = {Transport.EXTRACTIVE: ExtractiveClient(), **(clients or {})}
        self._way: Callable[[LLMClient], LLMClient] | None = None

    def register(self, transport: Transport, client: LLMClient) -> None:
        """Let `client` serve all experts of this transport; it takes the place of an earlier one."""
        self._clients[transport] = client

    def reached_by(self, way: Callable[[LLMClient], LLMClient]) -> None:
        """From now on every client is reached through what `way` makes of it."""
        self._way = way

    def call(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply:
        return self._for(expert).call(expert, request, timeout_s=timeout_s)

    async def acall(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply:
        return await self._for(expert).acall(expert, request, timeout_s=timeout_s)

    def stream(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> Iterator[ChatChunk]:
        return self._for(expert).stream(expert, request, timeout_s=timeout_s)

    def astream(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> AsyncIterator[ChatChunk]:
        return self._for(expert).astream(expert, request, timeout_s=timeout_s)

    @asynccontextmanager
    async def at_home(self) -> AsyncIterator[None]:
        """Calls on the running loop, which must live until this is left, keep their connections there."""
        async with AsyncExitStack() as stack:
            for client in self._clients.values():
                if isinstance(client, Settling):
                    await stack.enter_async_context(client.at_home())
            yield

    def close(self) -> None:
        for client in (*self._clients.values(), *filter(None, [self._services])):
            client.close()

    def _for(self, expert: Expert) -> LLMClient:
        client = self._services if expert.is_service else self._clients.get(expert.transport)
        if client is None:
            told = f"no client for the transport '{expert.transport}' in this process"
            raise CallFailed(ErrorClass.SKIPPED, told, sent=False)
        return client if self._way is None else self._way(client)


class ExtractiveClient:
    """`local/extractive` in this process. Its work is bounded (a tenth of a second), so no deadline is enforced."""

    def call(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply:  # noqa: ARG002 - the port's
        """The answer. Raises CallFailed when the library it stands on is not installed."""
        try:
            reply = extractive.reply(
                request.messages, request.tools, request.response_format, request.max_output_tokens
            )
        except MissingExtra as missing:
            failure = CallFailed(ErrorClass.SKIPPED, str(missing), sent=False)
        else:
            return replace(reply, text=cut(reply.text, request.stop))
        raise failure

    async def acall(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply:
        """As `call`, in a thread, so that the loop goes on meanwhile."""
        return await asyncio.to_thread(self.call, expert, request, timeout_s=timeout_s)

    def stream(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> Iterator[ChatChunk]:
        """The whole answer in one piece: it is made at once, not word by word."""
        yield _whole(self.call(expert, request, timeout_s=timeout_s))

    async def astream(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> AsyncIterator[ChatChunk]:
        yield _whole(await self.acall(expert, request, timeout_s=timeout_s))

    def close(self) -> None:
        """Nothing to give back."""


def _whole(reply: ChatReply) -> ChatChunk:
    return ChatChunk(text=reply.text, reply=reply)
