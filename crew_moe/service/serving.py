"""One process that serves: it listens, and at the end it finishes or settles what is under way before it goes."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crew_moe.service.entrance import REQUEST_ID, refuse
from crew_moe.surface.fault import Fault

SETTLE_S: Final = 5.0
"""What a call that was cut off may take to say so to the ledger and the log."""
FLUSH_S: Final = 1.0
TICK_S: Final = 0.05
MAX_SOCKET_MESSAGE: Final = 65_536
STOPS: Final = (signal.SIGTERM, signal.SIGINT)


STOPPING: Final = Fault(
    code="stopping",
    status=503,
    what="the server stops, and waited no longer for the answer",
    next_step="ask again; what was under way may be charged",
    retry_after_s=1.0,
)


class CutOff:
    """Tells a client whose request was cut off what has happened, where nothing was answered yet."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except asyncio.CancelledError:
            if begun or scope["type"] != "http":
                raise
            await refuse(scope, send, STOPPING, {REQUEST_ID: str(scope.get("request_id", ""))})


class Server(uvicorn.Server):
    """uvicorn's server with an end of its own.

    Told to stop, it takes no new connections, has `farewell` said to those who only listen, and waits `drain_s` for
    the answers that are due. What is still under way then is cancelled, as it is by a second Ctrl-C, and waited for:
    money, log and telemetry close behind it, never before.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        drain_s: float,
        started: Callable[[], None],
        farewell: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(config)
        self._drain_s = drain_s
        self._told = started
        self._farewell = farewell

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._told()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for one in sockets or ():
            one.close()
        await self._farewell()
        for connection in tuple(self.server_state.connections):
            connection.shutdown()
        await self._finish()
        await self.lifespan.shutdown()

    async def _finish(self) -> None:
        """Wait for what is under way, and cut off what takes too long."""
        state = self.server_state
        await self._until(lambda: not state.tasks or self.force_exit, self._drain_s)
        late = set(state.tasks)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=SETTLE_S)
        await self._until(lambda: not state.connections, FLUSH_S)

    async def _until(self, done: Callable[[], bool], within_s: float) -> None:
        ends = asyncio.get_running_loop().time() + within_s
        while not done() and asyncio.get_running_loop().time() < ends:  # noqa: ASYNC110 - uvicorn tells of no change
            await asyncio.sleep(TICK_S)


def serve_app(
    app: ASGIApp,
    listener: socket.socket,
    *,
    drain_s: float,
    started: Callable[[], None],
    farewell: Callable[[], Awaitable[None]],
) -> None:
    """Serve until SIGTERM or Ctrl-C; `started` is called when it answers."""
    config = uvicorn.Config(
        CutOff(app),
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        ws_max_size=MAX_SOCKET_MESSAGE,
    )
    server = Server(config, drain_s=drain_s, started=started, farewell=farewell)
    config.load()
    _settle_memory()
    server.run(sockets=[listener])


@contextmanager
def until_told() -> Iterator[None]:
    """SIGTERM and Ctrl-C end the block; nothing is raised beyond it. uvicorn takes them over while it serves, and
    raises the one that ended it once more.
    """
    usual = {number: signal.getsignal(number) for number in STOPS}
    try:
        for number in STOPS:
            signal.signal(number, _end)
        yield
    except _Ended:
        return
    finally:
        for number, before in usual.items():
            signal.signal(number, before)


class _Ended(BaseException):
    """The program was told to end."""


def _end(*_: Any) -> None:
    """Told again while it ends, the program goes on ending: a second exception would come in the middle of that."""
    for number in STOPS:
        signal.signal(number, _go_on)  # with SIG_IGN, one that has come already is complained about
    # Told between making its first coroutine and running it, a program that ends has nothing to warn of.
    warnings.filterwarnings("ignore", message="coroutine .* was never awaited", category=RuntimeWarning)
    raise _Ended


def _go_on(*_: Any) -> None:
    pass


def _settle_memory() -> None:
    """What was loaded until now stays for good: the collector need not look at it again and again. Looking at all of
    it takes some ten times as long as a request may, and would come in the middle of one.
    """
    gc.collect()
    gc.freeze()
