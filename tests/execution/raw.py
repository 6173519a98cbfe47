"""A loopback server that sends exactly the bytes it is told: what no well-behaved server would."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any, Final, Self

DRIP_S: Final = 0.02


class End(StrEnum):
    """What happens to the connection behind the last byte."""

    KEEP = "keep"
    CLOSE = "close"
    RESET = "reset"
    HANG = "hang"


@dataclass(frozen=True, slots=True)
class Play:
    """One answer: `pieces` sent one by one (dripping: some time apart), then `end`."""

    pieces: tuple[bytes, ...]
    end: End = End.KEEP
    dripping: bool = False


def answer(
    body: object, *, status: int = 200, kind: str = "application/json", headers: str = "", end: End = End.KEEP
) -> Play:
    """A whole HTTP answer; `body` as it is, or as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n{headers}\r\n"
    return Play((head.encode() + content,), end)


def chunked(*pieces: bytes, end: End = End.KEEP, whole: bool = True, dripping: bool = False) -> Play:
    """An event stream in HTTP chunks, one per piece; not `whole`: without the last, empty one."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    framed = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]
    return Play((head, *framed, *([b"0\r\n\r\n"] if whole else [])), end, dripping)


@dataclass(slots=True)
class Received:
    """A request as it came in, header names in lower case."""

    headers: dict[str, str]
    body: dict[str, Any]
    connection: int


@dataclass(slots=True)
class RawServer:
    """Plays one answer per request, in order. Leaving it lets go of everything that hangs."""

    plays: deque[Play]
    received: list[Received] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)
    _over: threading.Event = field(default_factory=threading.Event)
    _socket: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    _threads: list[threading.Thread] = field(default_factory=list)
    _connections: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _start(self, target: Any, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        number = 0
        while not self._over.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._connections.append(connection)
            self._start(self._serve, connection, number)
            number += 1

    def _serve(self, connection: socket.socket, number: int) -> None:
        with connection, connection.makefile("rb") as stream:
            try:
                while request := _read(stream, number):
                    self.received.append(request)
                    self.arrived.set()
                    if not self._play(connection, self.plays.popleft()):
                        return
            except OSError:
                self.gone.set()

    def _play(self, connection: socket.socket, play: Play) -> bool:
        """Whether the connection goes on."""
        for piece in play.pieces:
            connection.sendall(piece)
            if play.dripping and self._over.wait(DRIP_S):
                return False
        if play.end is End.HANG:
            self._watch(connection)
        if play.end is End.RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return play.end is End.KEEP

    def _watch(self, connection: socket.socket) -> None:
        """Wait until the client leaves, or the test is over."""
        connection.settimeout(DRIP_S)
        while not self._over.is_set():
            try:
                if not connection.recv(1):
                    self.gone.set()
                    return
            except TimeoutError:
                continue


def _read(stream: Any, number: int) -> Received | None:
    if not stream.readline():
        return None
    headers = {}
    while line := stream.readline().strip():
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", 0)))
    return Received(headers, json.loads(body), number)


def raw(*plays: Play) -> RawServer:
    return RawServer(deque(plays))
