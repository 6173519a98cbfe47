"""A connection for scripts that run around every call of a model: what Connection promises, at half the price.

For each command redis-py borrows a socket from a pool, packs argument by argument, and has the system asked twice
whether the socket is ready, which all together takes longer than Redis takes for the script. Here redis-py opens the
sockets, and then they stand in a list: a command is packed in one go, and whoever reads simply waits.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from crew_moe.state.redis.connection import ANSWER_S, Connection, Script

AT_ONCE: Final = 65_536  # bytes
_PATIENCE: Final = struct.pack("@ll", int(ANSWER_S), int(ANSWER_S % 1 * 1e6))

Ask = Callable[..., Any]


class Wire:
    """One open socket, for one thread at a time. Raises OSError; TimeoutError where no answer comes in time."""

    __slots__ = ("_connection", "_poll", "_socket")

    def __init__(self, connection: Any) -> None:
        """Takes over the socket of a connection of redis-py, which has said hello on it."""
        self._connection = connection
        self._socket: socket.socket = connection._sock
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        if not isinstance(self._socket, ssl.SSLSocket):  # waits in the system; by itself Python asks before each step
            self._socket.settimeout(None)
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                self._socket.setsockopt(socket.SOL_SOCKET, option, _PATIENCE)

    def ask(self, *words: bytes) -> tuple[bytes, bytes]:
        """A command that is answered by one string: the first line of the answer, maybe an error, and the string."""
        parts = [part for word in words for part in (b"$%d" % len(word), word)]
        self._socket.sendall(b"*%d\r\n%b\r\n" % (len(words), b"\r\n".join(parts)))
        data = self._more(b"")
        while (start := data.find(b"\r\n") + 2) < 2:
            data = self._more(data)
        line = data[: start - 2]
        if line[:1] != b"$":
            return line, b""
        end = start + int(line[1:])
        while len(data) < end + 2:
            data = self._more(data)
        return line, data[start:end]

    def is_quiet(self) -> bool:
        """Whether it is open, and nothing waits to be read from it."""
        return not self._poll.poll(0)

    def close(self) -> None:
        self._connection.disconnect()

    def _more(self, data: bytes) -> bytes:
        try:
            got = self._socket.recv(AT_ONCE)
        except BlockingIOError as late:
            raise TimeoutError from late
        if not got:
            raise ConnectionResetError("the server hung up")
        return data + got


class Line(Connection):
    """A Connection with a quick way to `call`. Each new socket is passed to `greet` before it is used, which may raise
    StateError when the server is not what it should be.
    """

    def __init__(self, url: str, greet: Callable[[Ask], None]) -> None:
        self._greet = greet
        super().__init__(url)

    def begin_anew(self) -> None:
        super().begin_anew()
        self._idle: list[Wire] = []

    def call(self, script: Script, keys: Sequence[bytes], args: Sequence[bytes]) -> bytes:
        """As `run`, from bytes to bytes."""
        self._check()
        try:
            wire = self._take()
            try:
                line, answer = _call(wire, script, (b"%d" % len(keys), *keys, *args))
            except BaseException:
                wire.close()
                raise
        except TimeoutError as late:
            raise self._lost(self._errors.TimeoutError()) from late
        except (OSError, self._errors.RedisError) as error:
            raise self._lost(error) from error
        self._idle.append(wire)
        if line[:1] == b"-":
            raise self._lost(self._errors.ResponseError(line[1:].decode()))
        return answer

    def close(self) -> None:
        """Give the sockets back; idempotent."""
        super().close()
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> Wire:
        """One that nobody else uses; those that the server hung up on meanwhile are weeded out."""
        while True:
            try:
                wire = self._idle.pop()
            except IndexError:
                return self._new()
            if wire.is_quiet():
                return wire
            wire.close()

    def _new(self) -> Wire:
        pool = self._client.connection_pool  # itself it would lend a hundred at most, and wants them back
        connection: Any = pool.connection_class(**pool.connection_kwargs)
        try:
            connection.connect()
            self._greet(partial(_ask, connection))
        except BaseException:
            connection.disconnect()
            raise
        return Wire(connection)


def _call(wire: Wire, script: Script, tail: Sequence[bytes]) -> tuple[bytes, bytes]:
    found = wire.ask(b"EVALSHA", script.digest.encode(), *tail)
    if found[0].startswith(b"-NOSCRIPT"):
        return wire.ask(b"EVAL", script.text.encode(), *tail)
    return found


def _ask(connection: Any, *words: str) -> Any:
    connection.send_command(*words)
    return connection.read_response()
