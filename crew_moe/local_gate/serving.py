"""The local gate: from a text to the answer of the hosted expert that the gating network chose.

    checks -> features -> gate -> what is remembered -> the expert's line -> its host, in a thread -> Processed

All but computing and looking at long texts happens on one event loop, in a thread of its own, so that one gate serves
any thread and any loop. It opens no socket; hosts of a remote kind do.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Collection, Mapping
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from crew_moe.clock import SystemClock
from crew_moe.domain.hosting import LocalPlan
from crew_moe.domain.local_work import Asked, Loaded, LocalHealth, LocalRefusal, Processed
from crew_moe.local_gate.engine.engine import Chooser, Engine
from crew_moe.local_gate.engine.lane import Pool
from crew_moe.local_gate.engine.loop_thread import LoopThread
from crew_moe.local_gate.engine.notes import Notes
from crew_moe.local_gate.engine.pipe import Pipe
from crew_moe.local_gate.engine.refusals import unavailable
from crew_moe.local_gate.gate.choice import GateChoice
from crew_moe.local_gate.gate.gate import Gate, packaged
from crew_moe.local_gate.hosts.opening import open_host
from crew_moe.local_gate.hosts.pool import HostPool
from crew_moe.ports import Clock, DecisionLog, EventSink, Host, LanguageDetector

T = TypeVar("T")

MIB: Final = 1024 * 1024
CLOSED: Final = "the local gate is closed"


class LocalGate:
    """Serves a plan's hosted experts, for as many threads and loops as there are. Close it when done.

    `open` makes one from a plan. Made directly, it is over a pool of one's own, and without a `gate` the packaged
    network chooses, which never learns from examples.
    """

    def __init__(
        self,
        plan: LocalPlan,
        *,
        pool: Pool,
        gate: Chooser | None = None,
        clock: Clock | None = None,
        sink: EventSink | None = None,
        log: DecisionLog | None = None,
    ) -> None:
        self.plan = plan
        self._pool = pool
        self._gate = gate or Gate(packaged(), plan.hosts, plan.gate)
        self._clock = clock or SystemClock()
        self._sink = sink
        self._log = log
        self._thread = LoopThread("local-gate-loop")
        self._engine: Engine | None = None
        self._closing = threading.Lock()
        self._closed = False
        self._answering: set[asyncio.Task[Any]] = set()

    @classmethod
    def open(
        cls,
        plan: LocalPlan,
        *,
        hosts: Mapping[str, Host] | None = None,
        gate: Chooser | None = None,
        languages: LanguageDetector | None = None,
        clock: Clock | None = None,
        sink: EventSink | None = None,
        log: DecisionLog | None = None,
    ) -> LocalGate:
        """A gate over the plan's hosts, of which a program may have some made itself. Loads no model. `languages` tells
        the gate the language of longer texts.

        Raises ConfigError for a gating network that can't be read.
        """
        own = hosts or {}
        return cls(
            plan,
            pool=HostPool(
                plan.hosts,
                int(plan.memory_limit_mb * MIB),
                open=lambda spec: own[spec.name] if spec.name in own else open_host(spec),
            ),
            gate=gate or Gate.open(plan.gate, plan.hosts, languages=languages),
            clock=clock,
            sink=sink,
            log=log,
        )

    async def process(self, asked: Asked) -> Processed | LocalRefusal:
        """The answer of the expert that was asked for, or that the gate chose; or why there is none."""
        future = self._thread.submit(self._answer(asked))
        return unavailable(CLOSED) if future is None else await asyncio.wrap_future(future)

    def call(self, asked: Asked) -> Processed | LocalRefusal:
        """As `process`, for threads."""
        future = self._thread.submit(self._answer(asked))
        return unavailable(CLOSED) if future is None else _wait(future)

    async def stream(self, asked: Asked) -> AsyncGenerator[str | Processed | LocalRefusal, None]:
        """The answer in pieces as it is made, and at the end the whole, or why it broke off.

        A slow reader slows the expert down; one that leaves ends its work.
        """
        pipe = Pipe()
        future = self._thread.submit(self._answer(asked, pipe))
        if future is None:
            yield unavailable(CLOSED)
            return
        answering = asyncio.wrap_future(future)
        answering.add_done_callback(lambda _: pipe.end())
        try:
            async for piece in pipe.pieces():
                yield piece
            answer = await answering
            if isinstance(answer, Processed) and isinstance(answer.result, str) and not pipe.started:
                yield answer.result
            yield answer
        finally:
            pipe.close()
            answering.cancel()

    def choose(self, asked: Asked) -> GateChoice | LocalRefusal:
        """Whom the gate would ask now, and how sure it is; nobody is asked."""
        future = self._thread.submit(self._choose(asked))
        return unavailable(CLOSED) if future is None else _wait(future)

    def health(self) -> LocalHealth:
        """How everything is; loads nothing. Asks servers that run elsewhere: not for an event loop."""
        hosts = self._pool.health()
        lanes = self._engine.lanes if self._engine is not None else {}
        here = [host for name, host in hosts.items() if not self.plan.hosts[name].kind.is_remote]
        ready = [host.device for host in here if host.state is Loaded.READY and host.device]
        return LocalHealth(
            hosts=hosts,
            device=next((device for device in ready if device != "cpu"), "cpu"),
            queues={name: len(lanes[name].batcher) if name in lanes else 0 for name in self.plan.hosts},
            waits_s={name: lane.batcher.expected_wait_s() for name, lane in lanes.items()},
            gate=self._gate.diagnostics().as_dict(),
            closed=self._closed,
        )

    async def reload(self, names: Collection[str] | None = None) -> Mapping[str, LocalRefusal | None]:
        """Load these experts' models anew (None: all), and swap; calls that run are done by the old ones. What went
        wrong, by name; there the old one stays.
        """
        wanted = tuple(self.plan.hosts if names is None else names)
        future = self._thread.submit(self._reload(wanted))
        return dict.fromkeys(wanted, unavailable(CLOSED)) if future is None else await asyncio.wrap_future(future)

    async def warm(self) -> None:
        """Load what the plan calls warm. What can't be loaded tells why when it is asked."""
        future = self._thread.submit(self._warm())
        if future is not None:
            await asyncio.wrap_future(future)

    def close(self) -> None:
        """Refuse whoever waits, let end what is computed (for as long as a call may take), and unload. Idempotent."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            future = self._thread.submit(self._shut()) if self._thread.started else None
            patience_s = self.plan.timeout_s if future is None or future.result() else 0.0
            self._thread.stop()
            if self._engine is not None:
                self._engine.join(patience_s)
            self._pool.close()

    async def aclose(self) -> None:
        """As `close`, for event loops."""
        await asyncio.to_thread(self.close)

    async def _answer(self, asked: Asked, pipe: Pipe | None = None) -> Processed | LocalRefusal:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it runs as one
        self._answering.add(task)
        try:
            return await self._ready().answer(asked, pipe)
        except asyncio.CancelledError:
            if self._closed:
                return unavailable(CLOSED)
            raise
        finally:
            self._answering.discard(task)
            if pipe is not None:
                pipe.close()

    async def _choose(self, asked: Asked) -> GateChoice | LocalRefusal:
        return await self._ready().choose(asked)

    async def _reload(self, names: Collection[str]) -> Mapping[str, LocalRefusal | None]:
        engine = self._ready()
        try:
            return {name: await engine.reload(name) for name in names}
        except asyncio.CancelledError:
            if self._closed:
                return dict.fromkeys(names, unavailable(CLOSED))
            raise

    async def _warm(self) -> None:
        engine = self._ready()
        await asyncio.gather(*(engine.warm(name) for name, spec in self.plan.hosts.items() if spec.warm))

    async def _shut(self) -> bool:
        """Whether everything came to its end in time."""
        try:
            async with asyncio.timeout(self.plan.timeout_s):
                await self._ready().aclose()
                await asyncio.gather(*self._answering, return_exceptions=True)
        except TimeoutError:
            return False
        return True

    def _ready(self) -> Engine:
        """On the loop."""
        if self._engine is None:
            self._engine = Engine(
                self.plan,
                self._pool,
                gate=self._gate,
                clock=self._clock,
                tell=self._tell,
                notes=Notes(self._log, self._gate.version),
            )
        return self._engine

    def _tell(self, event: str, **fields: Any) -> None:
        if self._sink is not None:
            self._sink.emit(event, **fields)


def _wait(future: Future[T]) -> T:
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise
