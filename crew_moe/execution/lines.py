"""Requests over connections that belong to the running loop: for loops that live as long as their connections do.

Whoever serves many calls on one loop saves the way over another thread; `execution.wire` is for everybody else.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections import defaultdict
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from functools import cached_property, lru_cache
from ssl import SSLContext
from typing import Final, NamedTuple, TypeVar
from urllib.request import getproxies

import httpx

from crew_moe.domain.outcome import ErrorClass
from crew_moe.execution.failure import CallFailed
from crew_moe.execution.line import Line, LineBroke

T = TypeVar("T")

KEPT_ALIVE: Final = 100
KEPT_ALIVE_S: Final = 30.0
DRAIN_S: Final = 0.05
_PORTS: Final = {"http": 80, "https": 443}
_ENCODINGS: Final = frozenset({"gzip", "deflate"})


class Target(NamedTuple):
    """Where a request goes."""

    scheme: str
    host: str
    port: int


class Address(NamedTuple):
    """A URL, taken apart once."""

    target: Target
    start: bytes


class Exchange:
    """A request and its answer, header names in lower case. Steps raise CallFailed.

    `deadline` (seconds of `time.monotonic`) is for all of it.
    """

    def __init__(self, lines: Lines, target: Target, content: bytes, *, deadline: float, max_body: int) -> None:
        self._lines = lines
        self._target = target
        self._content = content
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self._deadline = deadline
        self._max_body = max_body
        self._sent = False
        self._size = 0
        self._line: Line | None = None
        self._unzip: zlib._Decompress | None = None

    async def open(self) -> None:
        """Send the request and wait for the head of the answer."""
        await self._bounded(self._open())

    async def read(self) -> bytes:
        """The next piece of the body, b"" at its end."""
        return await self._bounded(self._read())

    async def read_all(self) -> bytes:
        """The rest of the body."""
        return await self._bounded(self._read_all())

    async def fetch(self) -> bytes:
        """Everything at once: open, read all, close."""
        try:
            return await self._bounded(self._fetch())
        finally:
            self.close()

    async def finish(self) -> None:
        """Close after an answer that is complete but for the end of its framing, which a kept connection has read."""
        with suppress(CallFailed, TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self.read_all()
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        line, self._line = self._line, None
        if line is not None:
            self._lines.give_back(self._target, line)

    async def _open(self) -> None:
        self._line = await self._lines.take(self._target)
        self._sent = True
        self._line.ask(self._content)
        await self._line.head()
        self.status, self.headers = self._line.status, self._line.headers
        encoding = self.headers.get("content-encoding", "identity").lower()
        if encoding in _ENCODINGS:
            self._unzip = zlib.decompressobj(zlib.MAX_WBITS | 32)
        elif encoding != "identity":
            raise CallFailed(ErrorClass.MALFORMED, "a body that its encoding does not fit")

    async def _read(self) -> bytes:
        if self._line is None:
            return b""
        piece = await self._line.read()
        while self._unzip is not None and piece:
            unzipped = self._unzip.decompress(piece, self._max_body + 1)  # one more than allowed, so that it shows
            if unzipped:
                piece = unzipped
                break
            piece = await self._line.read()
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
        await self._open()
        return await self._read_all()

    async def _bounded(self, operation: Awaitable[T]) -> T:
        """`operation` within the deadline, its errors as CallFailed."""
        try:
            async with asyncio.timeout_at(self._deadline):
                return await operation
        except TimeoutError:
            failure = CallFailed(ErrorClass.TIMEOUT, "no whole answer in time", sent=self._sent)
        except zlib.error:
            failure = CallFailed(ErrorClass.MALFORMED, "a body that its encoding does not fit")
        except LineBroke:
            failure = CallFailed(ErrorClass.CONNECTION, "the connection closed in the middle", sent=self._sent)
        except OSError:
            failure = CallFailed(ErrorClass.CONNECTION, "no connection", sent=self._sent)
        raise failure


class Lines:
    """The connections of one loop. Those that are idle are used again, the last one first."""

    def __init__(self, *, max_body: int) -> None:
        self._max_body = max_body
        self._idle: dict[Target, list[tuple[float, Line]]] = defaultdict(list)

    @staticmethod
    def serves() -> bool:
        """Whether providers are reached directly; a proxy of the environment is the wire's business."""
        return not {"http", "https", "all"} & getproxies().keys()

    def exchange(self, url: str, *, headers: Mapping[str, str], content: bytes, deadline: float) -> Exchange:
        """A POST that is not sent yet. Raises CallFailed for an address that can't be."""
        address = _address(url)
        if address is None:
            raise CallFailed(ErrorClass.NOT_FOUND, "the base URL is no http(s) address", sent=False)
        named = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = address.start + f"{named}Content-Length: {len(content)}\r\n\r\n".encode("ascii")
        return Exchange(self, address.target, head + content, deadline=deadline, max_body=self._max_body)

    async def take(self, target: Target) -> Line:
        """A connection that is ready. Raises OSError."""
        idle, since = self._idle[target], time.monotonic() - KEPT_ALIVE_S
        while idle:
            last, line = idle.pop()
            if last > since and line.reusable:
                return line
            line.abort()
        secure = target.scheme == "https"
        _, made = await asyncio.get_running_loop().create_connection(
            Line, target.host, target.port, ssl=self._trusted if secure else None
        )
        return made

    def give_back(self, target: Target, line: Line) -> None:
        """Keep it for the next request, if it can have one."""
        idle = self._idle[target]
        if line.keeps and line.reusable and len(idle) < KEPT_ALIVE:
            idle.append((time.monotonic(), line))
        else:
            line.abort()

    def close(self) -> None:
        """Close what is idle; calls in flight go on to their end."""
        for idle in self._idle.values():
            for _, line in idle:
                line.abort()
            idle.clear()

    @cached_property
    def _trusted(self) -> SSLContext:
        return httpx.create_ssl_context()


@lru_cache(maxsize=256)
def _address(url: str) -> Address | None:
    """Where a URL leads, and how a request to it begins; None for what is no plain http(s) address."""
    try:
        found = httpx.URL(url)
    except httpx.InvalidURL:
        return None
    if found.scheme not in _PORTS or not found.host or found.userinfo:
        return None
    target = Target(found.scheme, found.raw_host.decode("ascii"), found.port or _PORTS[found.scheme])
    start = b"POST " + found.raw_path + b" HTTP/1.1\r\nHost: " + found.netloc
    return Address(target, start + b"\r\nAccept: */*\r\nAccept-Encoding: identity\r\nConnection: keep-alive\r\n")
