"""The listening side: one port for all experts and one for each provider, in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import h11

from crew_moe.sim import bodies
from crew_moe.sim.answer import Answer, Ending, plain
from crew_moe.sim.exchange import Exchange, serving
from crew_moe.sim.wire import HttpRequest, TooLarge, Wire

HOST: Final = "127.0.0.1"
PROVIDER: Final = "provider:"
BACKLOG: Final = 512

Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]

_logger = logging.getLogger(__name__)


class Port:
    """One loopback port that can be closed and opened again.

    While it is closed, the system refuses connections. A second socket, bound but never listening, keeps the number
    from being taken by another program meanwhile.
    """

    def __init__(self, number: int = 0) -> None:
        if number:
            _bound(number, shared=False).close()
        self._keeper = _bound(number)
        self.number: int = self._keeper.getsockname()[1]
        self._server: asyncio.Server | None = None

    async def open(self, accept: Accept) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(accept, sock=_bound(self.number), backlog=BACKLOG)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def give_up(self) -> None:
        """Close for good."""
        self.close()
        self._keeper.close()


class Server:
    """Listens on a port for all experts and on one for each provider; its methods belong to the loop's thread."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._ports: dict[str | None, Port] = {}
        self._wires: set[Wire] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, number: int = 0) -> None:
        """Listen; the port for all experts gets `number` (0: any). Raises OSError when a port can't be had."""
        for provider in (None, *self._exchange.registry.providers):
            port = self._ports[provider] = Port(number if provider is None else 0)
            await port.open(self._accepting(provider))

    def url(self, provider: str | None) -> str:
        """The base URL for all experts (None) or for those of one provider."""
        return f"http://{HOST}:{self._ports[provider].number}/v1"

    async def close(self) -> None:
        """Stop listening, tear down every connection, wait for their tasks."""
        for port in self._ports.values():
            port.give_up()
        for wire in self._wires:
            wire.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def kill(self, subject: str) -> None:
        """Reset the calls under way of "provider:NAME" or "expert:ID"; a provider's own port is closed."""
        port = self._port_of(subject)
        if port is not None:
            port.close()
        for wire in self._wires:
            if subject in wire.serving:
                wire.reset()

    async def revive(self, subject: str) -> None:
        """Open a provider's own port again, under the same number."""
        port = self._port_of(subject)
        if port is not None:
            await port.open(self._accepting(subject.removeprefix(PROVIDER)))

    def _port_of(self, subject: str) -> Port | None:
        return self._ports.get(subject.removeprefix(PROVIDER)) if subject.startswith(PROVIDER) else None

    def _accepting(self, provider: str | None) -> Accept:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._serve(Wire(reader, writer), provider))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return accept

    async def _serve(self, wire: Wire, provider: str | None) -> None:
        """One connection, request after request."""
        owner = frozenset() if provider is None else frozenset({f"{PROVIDER}{provider}"})
        wire.serving = owner
        self._wires.add(wire)
        try:
            # A client that goes away in the middle is no error of ours.
            with contextlib.suppress(OSError):
                while await self._serve_one(wire, provider):
                    wire.serving = owner
        finally:
            self._wires.discard(wire)
            wire.close()

    async def _serve_one(self, wire: Wire, provider: str | None) -> bool:
        try:
            request = await wire.request()
        except TooLarge:
            return await wire.play(_parting(413))
        except h11.RemoteProtocolError:
            return await wire.play(_parting(400))
        if request is None:
            return False
        return await wire.play(await self._answer(wire, request, provider))

    async def _answer(self, wire: Wire, request: HttpRequest, provider: str | None) -> Answer:
        """The answer, its delay less the time that finding it took. Text is extracted beside the loop, not in it."""
        started = asyncio.get_running_loop().time()
        try:
            received = self._exchange.receive(request, provider)
            if isinstance(received, Answer):
                return received
            wire.serving |= serving(received)
            answer = await asyncio.to_thread(self._exchange.answer, received)
        except Exception:  # the edge of the server: a fault of ours is a 500 to the client
            _logger.exception("the simulated provider failed")
            return plain(bodies.error(500), status=500)
        spent = asyncio.get_running_loop().time() - started
        return replace(answer, delay_s=max(0.0, answer.delay_s - spent))


def _parting(status: int) -> Answer:
    """An error after which the connection ends, since what follows on it can't be understood."""
    return replace(plain(bodies.error(status), status=status), ending=Ending.CLOSE)


def _bound(number: int, *, shared: bool = True) -> socket.socket:
    """A socket bound to a loopback port (0: any free one); `shared`: further sockets of this user may have it too."""
    # The protocol is named because asyncio turns Nagle's delay off only for sockets that say they are TCP.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared and hasattr(socket, "SO_REUSEPORT"):
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((HOST, number))
    except OSError:
        bound.close()
        raise
    return bound
