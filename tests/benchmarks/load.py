"""Load over HTTP/1.1 keep-alive connections, cheap enough to leave the server the machine: one request, many times."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

END_OF_HEAD: Final = b"\r\n\r\n"
LENGTH: Final = b"content-length:"
OK: Final = b"HTTP/1.1 2"


def request_bytes(url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """One POST as it goes over the wire."""
    place = urlsplit(url)
    lines = [f"POST {place.path} HTTP/1.1", f"Host: {place.netloc}", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


class Connection(asyncio.Protocol):
    """Sends when it is told to, and calls `done` with each answer's seconds. Any answer but a 2xx is an error."""

    def __init__(self, request: bytes, done: Callable[[Connection, float], None]) -> None:
        self._request = request
        self._done = done
        self._transport: Any = None
        self._seen = bytearray()
        self._began = 0.0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def send(self, since: float | None = None) -> None:
        """Ask once more; the answer's time counts from `since`, or from now."""
        self._began = time.perf_counter() if since is None else since
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._seen += data
        head = self._seen.find(END_OF_HEAD)
        if head < 0:
            return
        length = _length(bytes(self._seen[:head]).lower())
        if len(self._seen) < head + len(END_OF_HEAD) + length:
            return
        answer, self._seen = bytes(self._seen), bytearray()
        if not answer.startswith(OK):
            self._fail(RuntimeError(answer[:500].decode(errors="replace")))
            return
        self._done(self, time.perf_counter() - self._began)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionError("the server closed a connection"))

    def close(self) -> None:
        """No more answers are wanted."""
        if not self.ended.done():
            self.ended.set_result(None)
        self._transport.close()

    def _fail(self, error: Exception) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)


def _length(head: bytes) -> int:
    start = head.find(LENGTH)
    return int(head[start + len(LENGTH) :].split(b"\r\n", 1)[0]) if start >= 0 else 0


async def saturate(url: str, request: bytes, *, connections: int, requests: int) -> float:
    """Requests a second while every connection always waits for an answer."""
    left = requests

    def again(connection: Connection, _: float) -> None:
        nonlocal left
        left -= 1
        if left >= connections:
            connection.send()
        else:
            connection.close()

    open_ones = await _connected(url, request, again, connections)
    began = time.perf_counter()
    for connection in open_ones:
        connection.send()
    await asyncio.gather(*(connection.ended for connection in open_ones))
    return requests / (time.perf_counter() - began)


async def paced(url: str, request: bytes, *, rate: float, requests: int, connections: int = 64) -> list[float]:
    """Seconds of each answer when requests come at a steady rate, from when each was due: a queue is seen."""
    seen: list[float] = []
    loop = asyncio.get_running_loop()
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    finished = loop.create_future()

    def answered(connection: Connection, seconds: float) -> None:
        seen.append(seconds)
        idle.put_nowait(connection)
        if len(seen) == requests and not finished.done():
            finished.set_result(None)

    open_ones = await _connected(url, request, answered, connections)
    for connection in open_ones:
        idle.put_nowait(connection)
    began = time.perf_counter()
    for number in range(requests):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        (await idle.get()).send(since=due)
    await asyncio.wait_for(finished, timeout=60)
    for connection in open_ones:
        connection.close()
    return seen


async def _connected(
    url: str, request: bytes, done: Callable[[Connection, float], None], count: int
) -> list[Connection]:
    place, loop = urlsplit(url), asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Connection(request, done), place.hostname or "", place.port or 80)
        for _ in range(count)
    ]
    return [protocol for _, protocol in made]
