"""HTTP on an event loop of its own, for callers with and without one.

Why a private loop: a deadline over a whole exchange (a server that drips a byte a second passes every read timeout)
needs cancellation, which blocking sockets lack; and a pool of connections belongs to one loop, while callers come from
threads and from loops that end with each `asyncio.run`. So both kinds share one pool, one thread, one code path.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx

from crew_moe.domain.outcome import ErrorClass
from crew_moe.execution.failure import CallFailed
from crew_moe.execution.guarded import AddressRefused
from crew_moe.execution.loop import LoopThread
from crew_moe.state.forking import survives_fork

if TYPE_CHECKING:
    from crew_moe.execution.lines import Lines

T = TypeVar("T")

MAX_BODY: Final = 64 * 1024 * 1024
KEPT_ALIVE: Final = 100
KEPT_ALIVE_S: Final = 30.0
DRAIN_S: Final = 0.05
_THIS_MACHINE: Final = ("all://localhost", "all://127.0.0.1", "all://[::1]")
"""Reached past any proxy of the environment: what is asked here stays here."""

# First match wins, so the narrow ones come first. No text of the exception is passed on: some quote headers.
_FAULTS: Final = (
    (httpx.TimeoutException, ErrorClass.TIMEOUT, "timed out"),
    (AddressRefused, ErrorClass.NOT_FOUND, "its address is not one that may be asked"),
    (httpx.ConnectError, ErrorClass.CONNECTION, "no connection"),
    (httpx.ProxyError, ErrorClass.CONNECTION, "the proxy refused"),
    (httpx.UnsupportedProtocol, ErrorClass.NOT_FOUND, "the base URL is no http(s) address"),
    (httpx.InvalidURL, ErrorClass.NOT_FOUND, "the base URL is no http(s) address"),
    (httpx.DecodingError, ErrorClass.MALFORMED, "a body that its encoding does not fit"),
    (httpx.RemoteProtocolError, ErrorClass.CONNECTION, "the connection closed in the middle"),
    (httpx.HTTPError, ErrorClass.CONNECTION, "the connection broke"),
)
_FAULTY: Final = tuple(fault for fault, _, _ in _FAULTS)


class Exchange:
    """A request and its answer. Each step starts on the wire's loop and gives a future, which may raise CallFailed.

    `deadline` (seconds of `time.monotonic`) is for connecting, sending and the whole answer together.
    """

    def __init__(self, owner: Wire, running: _Running, request: httpx.Request, deadline: float) -> None:
        self._owner = owner  # the loop ends with its wire, which must outlive its exchanges
        self._loop = running.loop
        self._client = running.client
        self._max_body = owner.max_body
        self._request = request
        self._deadline = deadline
        self._sent = False
        self._size = 0
        self._response: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes] | None = None
        self._fetching: asyncio.Task[Any] | None = None

    @property
    def status(self) -> int:
        return 0 if self._response is None else self._response.status_code

    @property
    def headers(self) -> httpx.Headers:
        return httpx.Headers() if self._response is None else self._response.headers

    def open(self) -> Future[None]:
        """Send the request and wait for the head of the answer."""
        return self._loop.submit(self._open())

    def read(self) -> Future[bytes]:
        """The next piece of the body, b"" at its end."""
        return self._loop.submit(self._read())

    def read_all(self) -> Future[bytes]:
        """The rest of the body."""
        return self._loop.submit(self._read_all())

    def fetch(self) -> Future[bytes]:
        """Everything at once: open, read all, close."""
        return self._loop.submit(self._fetch())

    def close(self) -> Future[None]:
        """Let go of the connection. Nobody needs to wait for that."""
        return self._loop.submit(self._close())

    def drop(self) -> None:
        """End what `fetch` began, for a caller that was interrupted before it had the future in its hands."""
        self._loop.submit(self._drop())

    def finish(self) -> Future[None]:
        """Close after an answer that is complete but for the end of its framing, which a kept connection has read."""
        return self._loop.submit(self._finish())

    async def _open(self) -> None:
        self._request.extensions["trace"] = self._trace
        self._response = await self._bounded(self._client.send(self._request, stream=True))
        self._pieces = self._response.aiter_bytes()

    async def _read(self) -> bytes:
        piece = b"" if self._pieces is None else await self._bounded(anext(self._pieces, b""))
        self._size += len(piece)
        if self._size > self._max_body:
            raise CallFailed(ErrorClass.MALFORMED, f"an answer of more than {self._max_body} bytes")
        return piece

    async def _read_all(self) -> bytes:
        pieces = []
        while piece := await self._read():
            pieces.append(piece)
        return b"".join(pieces)

    async def _fetch(self) -> bytes:
        self._fetching = asyncio.current_task()
        try:
            await self._open()
            return await self._read_all()
        finally:
            await self._close()

    async def _drop(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()

    async def _close(self) -> None:
        if self._response is not None:
            await self._response.aclose()

    async def _finish(self) -> None:
        with suppress(CallFailed, TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self._read()
        await self._close()

    async def _bounded(self, operation: Awaitable[T]) -> T:
        """`operation` within the deadline, its errors as CallFailed."""
        try:
            async with asyncio.timeout_at(self._deadline):
                return await operation
        except TimeoutError:
            failure = CallFailed(ErrorClass.TIMEOUT, "no whole answer in time", sent=self._sent)
        except _FAULTY as error:
            failure = _failed(error, sent=self._sent)
        raise failure

    async def _trace(self, event: str, _info: Mapping[str, Any]) -> None:
        if event.endswith("send_request_headers.started"):
            self._sent = True


class LoopExchange:
    """The same for callers on a loop of their own."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    @property
    def status(self) -> int:
        return self._exchange.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._exchange.headers

    async def open(self) -> None:
        await asyncio.wrap_future(self._exchange.open())

    async def read(self) -> bytes:
        return await asyncio.wrap_future(self._exchange.read())

    async def read_all(self) -> bytes:
        return await asyncio.wrap_future(self._exchange.read_all())

    async def fetch(self) -> bytes:
        return await asyncio.wrap_future(self._exchange.fetch())

    async def finish(self) -> None:
        await asyncio.wrap_future(self._exchange.finish())

    def close(self) -> None:
        self._exchange.close()


class Wire:
    """Requests over one pool of connections, which starts with the first one and, in a forked child, anew.

    `transport` makes what carries them in the place of httpx's own.
    """

    def __init__(
        self, *, transport: Callable[[], httpx.AsyncBaseTransport] | None = None, max_body: int = MAX_BODY
    ) -> None:
        self.max_body = max_body
        self._transport = transport
        self._closed = False
        self.begin_anew()
        survives_fork(self)

    def begin_anew(self) -> None:
        """In a forked child: the loop's thread, its connections and a lock that it may have held are the parent's."""
        self._lock = threading.Lock()
        self._running: _Running | None = None

    def exchange(
        self, url: str, *, headers: Mapping[str, str], content: bytes, deadline: float, method: str = "POST"
    ) -> Exchange:
        """A request that is not sent yet. Raises CallFailed for an address that can't be."""
        running = self._started()
        try:
            request = running.client.build_request(method, url, headers=dict(headers), content=content)
        except _FAULTY as error:
            failure = _failed(error, sent=False)
        else:
            return Exchange(self, running, request, deadline)
        raise failure

    @property
    def closed(self) -> bool:
        return self._closed

    def lines(self) -> Lines | None:
        """Connections for the running loop alone; None where this wire has to carry everything."""
        try:
            from crew_moe.execution.lines import Lines
        except ImportError:
            return None
        return Lines(max_body=self.max_body) if self._transport is None and Lines.serves() else None

    def close(self) -> None:
        """End the thread and its connections; calls in flight fail, and so does every later one."""
        with self._lock:
            self._closed = True
            running, self._running = self._running, None
        if running is not None:
            running.stop()

    def _started(self) -> _Running:
        with self._lock:
            if self._closed:
                raise _ended(sent=False)
            if self._running is None:
                loop = LoopThread("crew-moe-http", closed=_ended)
                limits = httpx.Limits(max_keepalive_connections=KEPT_ALIVE, keepalive_expiry=KEPT_ALIVE_S)
                # No timeout of httpx's own: every operation stands under its request's deadline.
                client = httpx.AsyncClient(
                    timeout=None,  # noqa: S113 - bounded outside
                    limits=limits,
                    follow_redirects=False,
                    mounts=dict.fromkeys(_THIS_MACHINE) if self._transport is None else None,
                    transport=None if self._transport is None else self._transport(),
                )
                loop.at_end(client.aclose)
                self._running = _Running(loop=loop, client=client, stop=weakref.finalize(self, loop.stop))
            return self._running


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    """The loop, its connections, and what ends both, be it that nobody holds the wire any more."""

    loop: LoopThread
    client: httpx.AsyncClient
    stop: Callable[[], object]


def _ended(*, sent: bool = True) -> CallFailed:
    return CallFailed(ErrorClass.SKIPPED, "the client was closed", sent=sent)


def _failed(error: Exception, *, sent: bool) -> CallFailed:
    kind, told = next((kind, told) for fault, kind, told in _FAULTS if isinstance(error, fault))
    return CallFailed(kind, told, sent=sent)
