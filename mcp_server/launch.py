"""Running the server: over stdio for a client that starts it, over HTTP for many."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import anyio
import uvicorn

from mcp_server.logs import tame_libraries
from mcp_server.server import PATH, RouterServer
from mcp_server.wire import protocol_only

GRACE_S: Final = 10


def run_stdio(server: RouterServer) -> None:
    """Serve the client at the other end of stdin and stdout, until it hangs up."""
    tame_libraries()
    with protocol_only() as hang_up, _told_to_end(hang_up):
        anyio.run(_stdio, server)


def run_http(server: RouterServer, listener: socket.socket, *, hosts: Sequence[str] = ()) -> None:
    """Serve at /mcp, until told to end; `hosts` as for RouterServer.app."""
    tame_libraries()
    config = uvicorn.Config(
        server.app(hosts), lifespan="on", log_config=None, access_log=False, timeout_graceful_shutdown=GRACE_S
    )
    # uvicorn finishes what it has begun, and then raises the signal that ended it once more.
    with suppress(_Ended), _told_to_end(_end):
        uvicorn.Server(config).run(sockets=[listener])


def url_of(listener: socket.socket) -> str:
    """Where clients find a server that listens there."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{PATH}"


class _Ended(BaseException):
    """The server was told to end, and has."""


def _end() -> None:
    raise _Ended


@contextmanager
def _told_to_end(end: Callable[[], None]) -> Iterator[None]:
    """While this lasts, SIGTERM and Ctrl-C call `end`, so that what is pending is written before the process goes."""
    usual = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in usual:
        signal.signal(number, lambda *_: end())
    try:
        yield
    finally:
        for number, before in usual.items():
            signal.signal(number, before)


async def _stdio(server: RouterServer) -> None:
    await server.run_stdio_async(show_banner=False)
