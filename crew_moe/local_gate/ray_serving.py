"""The local gate beyond one machine: its experts in replicas on a Ray cluster, kept by Ray Serve.

    entrance (the process that was started: HTTP, gating network, cache, jobs) -> replicas (each with a gate of its own)

The entrance is a local gate like any other whose hosts are the replicas'. Ray scales them by the calls that run, sends
a call to one that has its expert's model in memory (multiplexing), and starts them anew where they were lost.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from crew_moe.domain.hosting import CacheSpec, GateSpec, LocalPlan
from crew_moe.domain.local_work import Asked, LocalHealth, LocalRefusal, Processed
from crew_moe.errors import HostFailed, MissingExtra, StateError
from crew_moe.local_gate.engine.refusals import failed
from crew_moe.local_gate.hosts import HostPool
from crew_moe.local_gate.ray_options import RayOptions
from crew_moe.local_gate.serving import MIB, LocalGate

try:
    import ray
    from ray import serve

    from crew_moe.local_gate.ray_hosts import RayPool
    from crew_moe.local_gate.ray_replicas import Replicas, Told
except ImportError as missing:
    raise MissingExtra("ray", "ray") from missing

APP: Final = "crew-moe-local"
REMEMBERED: Final = 1024
"""Calls whose answers a replica keeps, for one that comes again."""
HEALTH_PERIOD_S: Final = 2.0
HEALTH_TIMEOUT_S: Final = 10.0
ANSWER_S: Final = 5.0


class Experts:
    """A replica: a local gate of its own, which the entrance's asks; each of its calls names an expert."""

    def __init__(self, plan: LocalPlan) -> None:
        held = {name: spec for name, spec in plan.hosts.items() if not spec.kind.is_remote}
        mine = replace(plan, hosts=held, gate=GateSpec(), cache=CacheSpec(results=0, embeddings=0))
        self._pool = HostPool(held, int(plan.memory_limit_mb * MIB))
        self._gate = LocalGate(mine, pool=self._pool)
        self._answers: OrderedDict[str, asyncio.Task[Processed | LocalRefusal]] = OrderedDict()

    async def answer(self, call_id: str, asked: Asked) -> Processed | LocalRefusal:
        """The answer; a call that comes again has the one that it had, or that is being made."""
        await self._hold(str(asked.expert))
        if call_id not in self._answers:
            self._answers[call_id] = asyncio.create_task(self._gate.process(asked))
            while len(self._answers) > REMEMBERED:
                self._answers.popitem(last=False)
        return await self._answers[call_id]

    async def stream(self, asked: Asked) -> AsyncIterator[str | Processed | LocalRefusal]:
        """The answer in pieces, and the whole."""
        await self._hold(str(asked.expert))
        async for piece in self._gate.stream(asked):
            yield piece

    async def load(self, name: str) -> Told | LocalRefusal:
        """Have the expert in memory, and say what it is."""
        await self._hold(name)
        return await asyncio.to_thread(self._loaded, name)

    async def reload(self, name: str) -> LocalRefusal | None:
        """Load the expert's model anew; calls that run are done by the old one."""
        return (await self._gate.reload((name,)))[name]

    async def health(self) -> LocalHealth:
        """How this replica is."""
        return await asyncio.to_thread(self._gate.health)

    async def check_health(self) -> None:
        """Never returns where the gate's loop stands still: Ray starts another replica then."""
        await self._gate.reload(())

    async def __del__(self) -> None:
        await self._gate.aclose()

    def _loaded(self, name: str) -> Told | LocalRefusal:
        try:
            with self._pool.use(name) as host:
                return Told(version=host.version, takes_chats=host.takes_chats)
        except HostFailed as error:
            return failed(name, error)

    @serve.multiplexed(max_num_models_per_replica=-1)  # type: ignore[untyped-decorator]  # Ray's types are not read
    async def _hold(self, name: str) -> str:
        """Tells Ray which experts this replica has; the pool loads them, and unloads those that it has no room for."""
        return name


def build_app(plan: LocalPlan, options: RayOptions) -> Any:
    """The application for `ray.serve.run`."""
    experts = serve.deployment(
        Experts,
        name="experts",
        autoscaling_config={
            "min_replicas": options.fewest,
            "max_replicas": options.most,
            "target_ongoing_requests": options.ongoing,
        },
        max_ongoing_requests=2 * options.ongoing,
        ray_actor_options={"num_cpus": options.cpus},
        health_check_period_s=HEALTH_PERIOD_S,
        health_check_timeout_s=HEALTH_TIMEOUT_S,
        graceful_shutdown_timeout_s=plan.timeout_s,
    )
    return experts.bind(plan)


@contextmanager
def on_ray(plan: LocalPlan, options: RayOptions) -> Iterator[RayPool]:
    """The experts of a plan on a Ray cluster, for as long as the block runs: the pool of a LocalGate.

    The cluster is the one that this process is connected to, else that at the options' address, else one of this
    machine alone, which ends with the block. Raises StateError where there is none, or it can't take the replicas.
    """
    connects = not ray.is_initialized()
    try:
        if connects:
            _connect(options)
        handle = _deployed(plan, options)
        try:
            yield _pool(plan, options, handle)
        finally:
            handle.shutdown()  # its threads would have Ray start once more
            serve.delete(APP)
    finally:
        if connects:
            ray.shutdown()


def _deployed(plan: LocalPlan, options: RayOptions) -> Any:
    serve.start(proxy_location="Disabled")
    try:
        return serve.run(build_app(plan, options), name=APP, route_prefix=None)
    except RuntimeError as error:
        raise StateError(f"Ray could not start the experts' replicas: {error}") from error


def _pool(plan: LocalPlan, options: RayOptions, handle: Any) -> RayPool:
    near = {name: spec for name, spec in plan.hosts.items() if spec.kind.is_remote}
    return RayPool(
        plan,
        Replicas(handle, timeout_s=plan.timeout_s),
        HostPool(near, int(plan.memory_limit_mb * MIB)),
        concurrent=options.most * options.ongoing,
    )


def _connect(options: RayOptions) -> None:
    """As `ray.init`, but that SIGTERM means what it did before."""
    where = options.address or "this machine"
    if options.address is not None:
        _see_that_it_answers(options.address)
    alone = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"} if options.address is None else {}
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=options.address or "local", log_to_driver=False, logging_level=logging.WARNING, **alone)
    except (ConnectionError, RuntimeError, ValueError) as error:
        hint = "; one that asks for a token wants RAY_AUTH_MODE=token here" if options.address else ""
        raise StateError(f"no Ray cluster at {where} ({type(error).__name__}){hint}") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    _check_room(options)


def _see_that_it_answers(address: str) -> None:
    """Ray itself tries for minutes. Addresses in other forms (`auto`, `ray://`) are left to it."""
    host, colon, port = address.rpartition(":")
    if not (colon and port.isdigit()) or "://" in address:
        return
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_S).close()
    except (OSError, OverflowError):
        raise StateError(f"no Ray cluster answers at {address}") from None


def _check_room(options: RayOptions) -> None:
    """A machine does not grow, as a cluster may; Ray would wait for ever."""
    room = ray.cluster_resources().get("CPU", 0.0)
    if options.address is None and options.fewest * options.cpus > room:
        wanted = f"{options.fewest} replicas want {options.fewest * options.cpus:g} CPUs"
        raise StateError(f"{wanted}, and this machine has {room:g}: start fewer, or name a cluster")
