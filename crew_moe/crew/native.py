"""Experts whose `transport` is native: reached by CrewAI's own classes (Anthropic, Gemini, Bedrock) behind our port.

Each call works on a copy of the model with a count of its own, which shares the SDK's connections; the SDK's retries
and CrewAI's are off, and the copy emits no events, for the seat that called has emitted them already.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, suppress
from contextvars import copy_context
from functools import lru_cache
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final

from crewai import LLM
from crewai.llms.base_llm import BaseLLM, llm_call_context
from crewai.utilities.agent_utils import extract_tool_call_info

from crew_moe.crew.native_failure import failure_of
from crew_moe.domain.chat import ChatChunk, ChatReply, ChatRequest
from crew_moe.domain.expert import Expert, Parameter, Transport
from crew_moe.domain.outcome import ErrorClass
from crew_moe.domain.usage import Usage
from crew_moe.execution.conversation import instruct, said
from crew_moe.execution.failure import CallFailed
from crew_moe.execution.stops import cut
from crew_moe.execution.transports import Transports
from crew_moe.execution.usage import counted
from crew_moe.settings import api_key, base_url

_PROVIDERS: Final = {"google": "gemini"}
_EVENTS: Final = (
    "_emit_call_started_event",
    "_emit_call_completed_event",
    "_emit_call_failed_event",
    "_emit_stream_chunk_event",
    "_emit_thinking_chunk_event",
)


class NativeClient:
    """Implements ports.LLMClient over CrewAI's own model classes."""

    def call(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply:
        """The answer, or CallFailed; a call that takes too long is left to end by itself."""
        *_, last = self._pieces(expert, request, timeout_s, stream=False)
        return _whole(last)

    async def acall(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply:
        """As `call`; being cancelled leaves the call to end by itself."""
        async with aclosing(self._apieces(expert, request, timeout_s, stream=False)) as pieces:
            return _whole(await anext(pieces))

    def stream(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> Iterator[ChatChunk]:
        return self._pieces(expert, request, timeout_s, stream=True)

    def astream(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> AsyncIterator[ChatChunk]:
        return self._apieces(expert, request, timeout_s, stream=True)

    def close(self) -> None:
        """The SDKs close their connections when they are collected."""

    def _pieces(self, expert: Expert, request: ChatRequest, timeout_s: float, *, stream: bool) -> Iterator[ChatChunk]:
        """Run the call in a thread, so that a deadline bounds it, and hand on what it brings."""
        brought: SimpleQueue[ChatChunk | CallFailed] = SimpleQueue()
        _Work(expert, request, brought.put, stream=stream).start()
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                piece = brought.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                break
            if isinstance(piece, CallFailed):
                raise piece
            yield piece
            if piece.reply is not None:
                return
        raise _late(timeout_s)

    async def _apieces(
        self, expert: Expert, request: ChatRequest, timeout_s: float, *, stream: bool
    ) -> AsyncGenerator[ChatChunk, None]:
        """As `_pieces`. It takes no thread of the loop's pool: waiting for one would be outside of the deadline."""
        loop = asyncio.get_running_loop()
        brought: asyncio.Queue[ChatChunk | CallFailed] = asyncio.Queue()

        def bring(piece: ChatChunk | CallFailed) -> None:
            with suppress(RuntimeError):  # the loop has ended: nobody waits any more
                loop.call_soon_threadsafe(brought.put_nowait, piece)

        _Work(expert, request, bring, stream=stream).start()
        deadline = loop.time() + timeout_s
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    piece = await brought.get()
            except TimeoutError:
                break
            if isinstance(piece, CallFailed):
                raise piece
            yield piece
            if piece.reply is not None:
                return
        raise _late(timeout_s)


class _Work:
    """One call in its thread."""

    def __init__(
        self, expert: Expert, request: ChatRequest, bring: Callable[[ChatChunk | CallFailed], None], *, stream: bool
    ) -> None:
        self._expert = expert
        self._request = request
        self._bring = bring
        self._stream = stream

    def start(self) -> None:
        name = f"native-{self._expert.provider}"
        Thread(target=copy_context().run, args=(self._run,), name=name, daemon=True).start()

    def _run(self) -> None:
        try:
            reply = self._answer()
        except Exception as error:  # noqa: BLE001 - the edge of a thread: whatever an SDK raises becomes a CallFailed
            private = [*filter(None, [api_key(self._expert)]), *said(self._request.messages)]
            self._bring(failure_of(error, private=private))
        else:
            self._bring(ChatChunk(reply=reply))

    def _answer(self) -> ChatReply:
        request = self._request
        tally = _Tally()
        llm = self._own_copy(tally)
        # The undecorated method: CrewAI's wrapper would repeat a call that was refused for its rate.
        call = inspect.unwrap(type(llm).call)
        with llm_call_context():
            answer = call(llm, messages=self._messages(), tools=[dict(tool) for tool in request.tools] or None)
        if isinstance(answer, list):
            return ChatReply(text="", tool_calls=_tool_calls(answer), finish_reason="tool_calls", usage=tally.usage)
        if not answer:
            raise CallFailed(ErrorClass.MALFORMED, "an empty answer", usage=tally.usage if tally.told else None)
        return ChatReply(text=cut(str(answer), request.stop), usage=tally.usage, model=self._expert.provider_model)

    def _own_copy(self, tally: _Tally) -> BaseLLM:
        request, takes = self._request, self._expert.parameters
        llm = _model(self._expert, api_key(self._expert), base_url(self._expert)).model_copy(
            update={
                "stop": list(request.stop) if Parameter.STOP in takes else [],
                "max_tokens": request.max_output_tokens,
                "temperature": request.temperature if Parameter.TEMPERATURE in takes else None,
                "stream": self._stream,
            }
        )
        object.__setattr__(llm, "_track_token_usage_internal", tally.add)
        for name in _EVENTS:
            object.__setattr__(llm, name, _silent)
        if self._stream:
            object.__setattr__(llm, "_emit_stream_chunk_event", self._on_chunk)
        return llm

    def _messages(self) -> list[dict[str, Any]]:
        wanted = self._request.response_format or {}
        schema = (wanted.get("json_schema") or {}).get("schema")
        messages = self._request.messages
        if schema:
            messages = instruct(messages, f"Answer with one JSON object that fits this JSON Schema only:\n{schema}")
        return [dict(message) for message in messages]

    def _on_chunk(self, chunk: str, **_: Any) -> None:
        if chunk:
            self._bring(ChatChunk(text=chunk))


def register_native(transports: Transports) -> None:
    """Let experts with `transport: native` be reached through `transports`."""
    transports.register(Transport.NATIVE, _CLIENT)


_CLIENT: Final = NativeClient()


@lru_cache(maxsize=64)
def _model(expert: Expert, key: str | None, url: str | None) -> BaseLLM:
    """CrewAI's model for an expert; its SDK's connections are shared by all calls."""
    name = f"{_PROVIDERS.get(expert.provider, expert.provider)}/{expert.provider_model}"
    given = {"api_key": key, "base_url": url}
    settings: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    llm: BaseLLM = LLM(model=name, **settings)
    return LLM(model=name, max_retries=0, **settings) if "max_retries" in type(llm).model_fields else llm


def _tool_calls(calls: list[Any]) -> tuple[Mapping[str, Any], ...]:
    """Any SDK's tool calls in OpenAI's shape."""
    found = (extract_tool_call_info(call) for call in calls)
    return tuple(
        {"id": info[0], "type": "function", "function": {"name": info[1], "arguments": _arguments(info[2])}}
        for info in found
        if info is not None
    )


def _arguments(given: Any) -> str:
    return given if isinstance(given, str) else json.dumps(given)


class _Tally:
    """Counts what a call takes, from the words of the SDK: CrewAI's own counters leave out parts that are billed."""

    def __init__(self) -> None:
        self.usage = Usage()
        self.told = False

    def add(self, told: Mapping[str, Any]) -> None:
        """Stands in for the method by which CrewAI's models count; one call may bring several answers."""
        usage = counted(told)
        if usage is not None:
            self.usage += usage
            self.told = True


def _late(timeout_s: float) -> CallFailed:
    return CallFailed(ErrorClass.TIMEOUT, f"no answer within {timeout_s:g} s")


def _whole(chunk: ChatChunk) -> ChatReply:
    if chunk.reply is None:
        raise CallFailed(ErrorClass.MALFORMED, "no end")
    return chunk.reply


def _silent(*_: Any, **__: Any) -> None:
    """Stands in for an event that the seat has emitted already."""
