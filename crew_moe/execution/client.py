"""One call of one expert over OpenAI's chat API: no retry, no fallback, no SDK."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, TypedDict, TypeVar

from crew_moe.domain.chat import ChatChunk, ChatReply, ChatRequest
from crew_moe.domain.expert import Expert
from crew_moe.domain.meter import Told
from crew_moe.domain.outcome import ErrorClass
from crew_moe.execution.assembler import Assembler
from crew_moe.execution.conversation import said
from crew_moe.execution.failure import CallFailed, classify
from crew_moe.execution.payload import encode, payload
from crew_moe.execution.rate_headers import limits_told
from crew_moe.execution.reply import parse_reply
from crew_moe.execution.wire import Exchange, LoopExchange, Wire
from crew_moe.telemetry.passing import passed_on

if TYPE_CHECKING:
    from crew_moe.execution.lines import Exchange as HomeExchange
    from crew_moe.execution.lines import Lines

T = TypeVar("T")


class OpenAIClient:
    """ports.LLMClient over HTTP, for threads and for event loops, which share one pool of connections.

    `base_url_for` and `key_for` are asked at every call, so that a key may change while the process runs; without a
    key no Authorization header is sent. `timeout_s` bounds the whole call, to the last byte of the answer. A reply's
    usage is empty when the provider told none. `wire` takes the place of a plain one.
    """

    def __init__(
        self,
        *,
        base_url_for: Callable[[Expert], str | None],
        key_for: Callable[[Expert], str | None],
        wire: Wire | None = None,
    ) -> None:
        self._base_url_for = base_url_for
        self._key_for = key_for
        self._wire = wire or Wire()
        self._homes: dict[asyncio.AbstractEventLoop, Lines] = {}

    def call(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply:
        """The whole answer. Raises CallFailed."""
        call, exchange = self._begin(expert, request, timeout_s, stream=False)
        return call.reply(exchange, _fetched(exchange))

    async def acall(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply:
        """The whole answer; being cancelled closes the connection. Raises CallFailed."""
        call, exchange = self._abegin(expert, request, timeout_s, stream=False)
        return call.reply(exchange, await exchange.fetch())

    def stream(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> Iterator[ChatChunk]:
        """The answer as it comes; closing the iterator closes the connection. Raises CallFailed."""
        call, exchange = self._begin(expert, request, timeout_s, stream=True)
        parts = call.assembler()
        try:
            _wait(exchange.open())
            if not call.streams(exchange):
                yield call.chunk(exchange, _wait(exchange.read_all()))
                return
            while not parts.done and (piece := _wait(exchange.read())):
                if chunk := parts.chunk(piece):
                    yield chunk
            yield call.last(exchange, parts)
            _wait(exchange.finish())
        finally:
            exchange.close()

    async def astream(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> AsyncIterator[ChatChunk]:
        """As `stream`, for event loops."""
        call, exchange = self._abegin(expert, request, timeout_s, stream=True)
        parts = call.assembler()
        try:
            await exchange.open()
            if not call.streams(exchange):
                yield call.chunk(exchange, await exchange.read_all())
                return
            while not parts.done and (piece := await exchange.read()):
                if chunk := parts.chunk(piece):
                    yield chunk
            yield call.last(exchange, parts)
            await exchange.finish()
        finally:
            exchange.close()

    @asynccontextmanager
    async def at_home(self) -> AsyncIterator[None]:
        """Calls on the running loop keep their connections there until this is left, without a thread in between.

        Without httptools, or where a proxy stands in between, they go over the wire as all others do.
        """
        loop, lines = asyncio.get_running_loop(), self._wire.lines()
        if lines is None:
            yield
            return
        self._homes[loop] = lines
        try:
            yield
        finally:
            del self._homes[loop]
            lines.close()

    def close(self) -> None:
        """Close all connections; calls in flight fail, and so does every later one."""
        self._wire.close()

    def _begin(self, expert: Expert, request: ChatRequest, timeout_s: float, *, stream: bool) -> tuple[_Call, Exchange]:
        call, url, sent = self._request(expert, request, timeout_s, stream=stream)
        return call, self._wire.exchange(url, **sent)

    def _abegin(
        self, expert: Expert, request: ChatRequest, timeout_s: float, *, stream: bool
    ) -> tuple[_Call, LoopExchange | HomeExchange]:
        call, url, sent = self._request(expert, request, timeout_s, stream=stream)
        home = None if self._wire.closed else self._homes.get(asyncio.get_running_loop())
        if home is not None:
            return call, home.exchange(url, **sent)
        return call, LoopExchange(self._wire.exchange(url, **sent))

    def _request(
        self, expert: Expert, request: ChatRequest, timeout_s: float, *, stream: bool
    ) -> tuple[_Call, str, _Sent]:
        """Who reads the answer, where the request goes, and what is sent."""
        base_url, key = self._base_url_for(expert), self._key_for(expert)
        if base_url is None:
            raise CallFailed(ErrorClass.NOT_FOUND, "the expert has no base URL", sent=False)
        sent = _Sent(
            headers={**_headers(key), **passed_on()},
            content=_content(expert, request, stream=stream),
            deadline=time.monotonic() + timeout_s,
        )
        return _Call(request, key), f"{base_url.rstrip('/')}/chat/completions", sent


class _Sent(TypedDict):
    headers: dict[str, str]
    content: bytes
    deadline: float


class Answered(Protocol):
    """What is known of an answer beside its body."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...


class _Call:
    """Reads the answer to one request."""

    def __init__(self, request: ChatRequest, key: str | None) -> None:
        self._request = request
        self._key = key

    def reply(self, exchange: Answered, body: bytes) -> ChatReply:
        """The reply in a whole body, or the failure that it tells."""
        if not 200 <= exchange.status < 300:
            now = datetime.now(UTC)
            raise classify(exchange.status, exchange.headers, body, now=now, private=self._private())
        reply = parse_reply(body, stop=self._request.stop, private=self._private())
        return replace(reply, limits=_limits(exchange))

    def chunk(self, exchange: Answered, body: bytes) -> ChatChunk:
        """The same as the only piece of a stream."""
        reply = self.reply(exchange, body)
        return ChatChunk(text=reply.text, reply=reply)

    def last(self, exchange: Answered, parts: Assembler) -> ChatChunk:
        """The last piece of a stream, with the whole."""
        chunk = parts.finish()
        return replace(chunk, reply=chunk.reply and replace(chunk.reply, limits=_limits(exchange)))

    def assembler(self) -> Assembler:
        return Assembler(stop=self._request.stop, private=self._private())

    @staticmethod
    def streams(exchange: Answered) -> bool:
        """Whether the answer comes in events; an error, and a server that can't stream, answer in one body."""
        return exchange.status == 200 and "json" not in exchange.headers.get("content-type", "")

    def _private(self) -> Iterator[str]:
        """What no error detail may quote: the key and the conversation. Read only when something failed."""
        if self._key:
            yield self._key
        yield from said(self._request.messages)


def _limits(exchange: Answered) -> tuple[Told, ...]:
    return limits_told(exchange.headers, datetime.now(UTC))


def _headers(key: str | None) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "User-Agent": "crew-moe"}
    if key is None:
        return headers
    if not (key.isascii() and key.isprintable()):
        raise CallFailed(ErrorClass.AUTH, "the key has characters that no header can carry", sent=False)
    return {**headers, "Authorization": f"Bearer {key}"}


def _content(expert: Expert, request: ChatRequest, *, stream: bool) -> bytes:
    try:
        return encode(payload(expert, request, stream=stream))
    except (TypeError, ValueError, RecursionError):
        failure = CallFailed(ErrorClass.BAD_REQUEST, "the request is not JSON", sent=False)
    raise failure


def _fetched(exchange: Exchange) -> bytes:
    """The whole answer; an interrupt of this thread ends the call, whenever it comes."""
    future = None
    try:
        future = exchange.fetch()
        return future.result()
    except BaseException:
        if future is None:
            exchange.drop()
        else:
            future.cancel()
        raise


def _wait(future: Future[T]) -> T:
    try:
        return future.result()
    except BaseException:
        # Also an interrupt of this thread: the call must not go on behind the caller's back.
        future.cancel()
        raise
