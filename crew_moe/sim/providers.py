"""`simulate`: start the simulated providers, steer them, look at what arrived, stop them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Self

from crew_moe.catalog import load_registry
from crew_moe.domain.address import BaseUrl
from crew_moe.domain.registry import Registry
from crew_moe.domain.usage import Usage
from crew_moe.errors import InvalidInput, SimulationError
from crew_moe.local_gate.extractive import require_summa
from crew_moe.ports import Clock
from crew_moe.sim.exchange import Exchange
from crew_moe.sim.script import Script, load_script
from crew_moe.sim.server import HOST, Server
from crew_moe.sim.switchboard import Queued, SimRequest, Switchboard


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    """What exists while the simulation runs."""

    loop: asyncio.AbstractEventLoop
    server: Server
    stopped: asyncio.Event

    def wait(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` in the loop and return when it is done."""
        asyncio.run_coroutine_threadsafe(work, self.loop).result()


class Simulation:
    """Simulated providers on loopback; see `simulate`. Its methods may be called from any thread.

    `base_url` serves every expert. `base_url_of(provider)` serves one provider on a port of its own, which is closed
    while the provider is dead: connections are refused. A router finds those ports in `base_url` by itself; whoever
    sends a dead provider's request to the shared port has it read and then reset without a byte of an answer, because
    only the request says whom it is for.
    """

    def __init__(self, *, registry: Registry, script: Script, clock: Clock, port: int = 0) -> None:
        self.registry = registry
        self._script = script
        self._clock = clock
        self._port = port
        self._switchboard = Switchboard(registry)
        self._thread: Thread | None = None
        self._running: _Running | None = None

    @property
    def base_url(self) -> BaseUrl:
        """The address of every expert; a router that is given it calls each provider on the provider's own port."""
        server = self._alive().server
        return BaseUrl(server.url(None), {provider: server.url(provider) for provider in self.registry.providers})

    def base_url_of(self, provider: str) -> str:
        if provider not in self.registry.providers:
            allowed = self.registry.providers
            raise InvalidInput(f"unknown provider '{provider}'", value=provider, allowed=allowed)
        return self._alive().server.url(provider)

    @property
    def requests(self) -> list[SimRequest]:
        """The chat requests that arrived, oldest first (the last 10,000)."""
        return self._switchboard.requests

    def wait_for_requests(self, count: int, timeout_s: float = 10.0) -> list[SimRequest]:
        """Return `requests` when `count` have arrived since the start; raises SimulationError after `timeout_s`."""
        if not self._switchboard.wait_for(count, timeout_s):
            raise SimulationError(f"fewer than {count} requests arrived within {timeout_s:g} s")
        return self.requests

    def kill(self, name: str) -> None:
        """Let a provider or an expert die: its calls under way are reset, new ones find nobody."""
        running = self._alive()
        running.wait(running.server.kill(self._switchboard.kill(name)))

    def revive(self, name: str) -> None:
        """Bring it back, on the same port."""
        running = self._alive()
        running.wait(running.server.revive(self._switchboard.revive(name)))

    def reply_with(
        self,
        expert_id: str,
        text: str = "",
        *,
        tool_calls: Sequence[Mapping[str, Any]] = (),
        finish_reason: str | None = None,
        usage: Usage | None = None,
    ) -> None:
        """Queue an exact answer; each is given once, in order, to a call that gets a whole answer.

        Tool calls come in OpenAI's shape or short: {"name": ..., "arguments": {...}}. Tokens are estimated when no
        `usage` is given.
        """
        self._switchboard.enqueue(expert_id, Queued.of(text, tool_calls, finish_reason, usage))

    def start(self) -> Self:
        """Listen; once only. Raises SimulationError when a port can't be had, MissingExtra without `summa`."""
        if self._thread is not None:
            raise SimulationError("a simulation is started once")
        require_summa()
        started: Future[_Running] = Future()
        self._thread = Thread(target=lambda: asyncio.run(self._serve(started)), name="crew-moe-simulation", daemon=True)
        self._thread.start()
        try:
            self._running = started.result()
        except SimulationError:
            self._thread.join()
            raise
        return self

    def stop(self) -> None:
        """Reset every connection, free the ports and wait for the thread. Stopping twice is fine."""
        running, self._running = self._running, None
        if running is not None:
            running.loop.call_soon_threadsafe(running.stopped.set)
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    async def _serve(self, started: Future[_Running]) -> None:
        """The life of the thread: listen, report, wait for the end, clean up."""
        server = Server(
            Exchange(registry=self.registry, script=self._script, clock=self._clock, switchboard=self._switchboard)
        )
        stopped = asyncio.Event()
        try:
            await server.open(self._port)
            started.set_result(_Running(loop=asyncio.get_running_loop(), server=server, stopped=stopped))
            await stopped.wait()
        except OSError as error:
            started.set_exception(SimulationError(f"can't listen on {HOST}:{self._port}: {error.strerror}"))
        finally:
            await server.close()
            if not started.done():
                started.set_exception(SimulationError("the simulation could not start"))

    def _alive(self) -> _Running:
        if self._running is None:
            raise SimulationError("the simulation does not run; use it as a context manager")
        return self._running


def simulate(
    script: str | Path | Mapping[str, Any] | Script | None = None,
    *,
    registry: Registry | None = None,
    speed: float | None = None,
    clock: Clock | None = None,
    port: int = 0,
) -> Simulation:
    """Simulated providers, to be entered with `with` or `async with`.

    `script` is a file, a mapping or a Script (default: nothing goes wrong; see crew_moe.sim.script), `registry` the
    experts to play (default: the packaged catalogue). `speed` overrides the script's: 0 answers at once, 1 as slowly
    as the experts do. `clock` drives the script's time windows. Raises ConfigError for a wrong script.

    >>> import httpx
    >>> with simulate(speed=0) as sim:
    ...     sim.reply_with("gpt-4o", "Hello.")
    ...     body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
    ...     answer = httpx.post(f"{sim.base_url}/chat/completions", json=body).json()
    >>> answer["choices"][0]["message"]["content"], answer["usage"]["total_tokens"]
    ('Hello.', 3)
    >>> [request.expert_id for request in sim.requests]
    ['gpt-4o']
    """
    experts = registry if registry is not None else load_registry()
    loaded = load_script(script, experts)
    if speed is not None:
        loaded = loaded.model_copy(update={"speed": speed})
    return Simulation(registry=experts, script=loaded, clock=clock or SystemClock(), port=port)
