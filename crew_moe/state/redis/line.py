"""A connection for scripts that run around every call of a model: what Connection promises, at half the price.

For each command redis-py borrows a socket from a pool, packs argument by argument and looks up callbacks, which takes
longer than Redis takes for the script. Here idle sockets stand in a list, and a command is packed in one go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from crew_moe.state.redis.connection import Connection, Script, Value

Ask = Callable[..., Any]


class Socket(Protocol):
    """What is used of a connection of redis-py."""

    def send_packed_command(self, command: Sequence[bytes]) -> None: ...

    def read_response(self) -> Any: ...

    def can_read(self) -> bool: ...

    def disconnect(self) -> None: ...


class Line(Connection):
    """A Connection whose `run` is quick. Each new socket is passed to `greet` before it is used, which may raise
    StateError when the server is not what it should be.
    """

    def __init__(self, url: str, greet: Callable[[Ask], None]) -> None:
        self._greet = greet
        super().__init__(url)

    def begin_anew(self) -> None:
        super().begin_anew()
        self._pool: Any = self._client.connection_pool
        self._idle: list[Socket] = []

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Value] = ()) -> Any:
        self._check()
        try:
            socket = self._take()
            try:
                answer = _run(socket, script, (len(keys), *keys, *args), self._errors.NoScriptError)
            except BaseException:
                self._drop(socket)
                raise
        except self._errors.RedisError as error:
            raise self._lost(error) from error
        self._idle.append(socket)
        return answer

    def _take(self) -> Socket:
        """A socket that nobody else uses; those that the server hung up on meanwhile are weeded out."""
        while True:
            try:
                socket = self._idle.pop()
            except IndexError:
                return self._new()
            if self._is_quiet(socket):
                return socket
            self._drop(socket)

    def _new(self) -> Socket:
        socket: Socket = self._pool.get_connection()
        try:
            self._greet(partial(_ask, socket))
        except BaseException:
            self._drop(socket)
            raise
        return socket

    def _is_quiet(self, socket: Socket) -> bool:
        """Whether it is open, and nothing waits to be read from it."""
        try:
            return not socket.can_read()
        except self._errors.RedisError:
            return False

    def _drop(self, socket: Socket) -> None:
        socket.disconnect()
        self._pool.release(socket)


def _run(socket: Socket, script: Script, tail: Sequence[Value], unknown: type[Exception]) -> Any:
    try:
        return _ask(socket, "EVALSHA", script.digest, *tail)
    except unknown:
        return _ask(socket, "EVAL", script.text, *tail)


def _ask(socket: Socket, *words: Value) -> Any:
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode("utf-8", "surrogatepass")
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    socket.send_packed_command((b"".join(parts),))
    return socket.read_response()
