"""The state store of one process: plain dictionaries under one lock."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from crew_moe.domain.outcome import Sample
from crew_moe.domain.policy import BreakerPolicy
from crew_moe.domain.service import Service
from crew_moe.domain.snapshot import Breaker, Performance, Pin
from crew_moe.state import breaker as breakers
from crew_moe.state.forking import survives_fork
from crew_moe.state.performance import EXPIRY, as_read, fold
from crew_moe.state.pins import Scope, covers, in_force, newest_first, scope
from crew_moe.state.services import Services, joined, reweighed, without

CLEAN: Final = Breaker()
MAX_SEEN: Final = 100_000


class MemoryStore:
    """Implements ports.StateStore for all threads of one process; forgotten when it ends.

    The keys of `once` are kept for 30 days, and the newest 100,000 at most.
    """

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._version = 0
        self._performance: dict[tuple[str, str], Performance] = {}
        self._breakers: dict[str, Breaker] = {}
        self._pins: dict[Scope, Pin] = {}
        self._services: Services = ()
        self._seen: OrderedDict[str, datetime] = OrderedDict()
        self.begin_anew()
        survives_fork(self)

    def begin_anew(self) -> None:
        """After a fork: what was learned stays, the parent's lock does not."""
        self._lock = threading.Lock()

    def version(self) -> int:
        return self._version

    def record(self, sample: Sample, now: datetime, *, once: str | None = None) -> bool:
        key = (sample.expert_id, sample.task_type)
        with self._lock:
            if once is not None and not self._first(once, now):
                return False
            self._performance[key] = fold(self._performance.get(key), sample, now)
            self._version += 1
        return True

    def performance(self, now: datetime) -> Mapping[tuple[str, str], Performance]:
        with self._lock:
            kept = tuple(self._performance.items())
        read = ((key, as_read(performance, now)) for key, performance in kept)
        return {key: performance for key, performance in read if performance is not None}

    def admit(self, key: str, now: datetime) -> bool:
        with self._lock:
            after, passes = breakers.admit(self._breakers.get(key, CLEAN), self._policy, now)
            self._put(key, after)
        return passes

    def succeed(self, key: str, now: datetime) -> Breaker:
        with self._lock:
            return self._put(key, breakers.succeed(self._breakers.get(key, CLEAN), now))

    def fail(self, key: str, now: datetime, *, eject_ms: float | None = None) -> Breaker:
        with self._lock:
            before = self._breakers.get(key, CLEAN)
            return self._put(key, breakers.fail(before, self._policy, now, eject_ms=eject_ms))

    def cancel(self, key: str, now: datetime) -> Breaker:  # noqa: ARG002 - the port's shape
        with self._lock:
            return self._put(key, breakers.cancel(self._breakers.get(key, CLEAN)))

    def breakers(self) -> Mapping[str, Breaker]:
        with self._lock:
            return dict(self._breakers)

    def pin(self, pin: Pin) -> None:
        with self._lock:
            kept = {key: old for key, old in self._pins.items() if in_force(old, pin.created_at)}
            self._pins = {**kept, scope(pin): pin}
            self._version += 1

    def unpin(self, *, expert_id: str | None, task_type: str | None, task: str | None, tenant: str | None) -> int:
        wanted = (expert_id, task_type, task, tenant)
        with self._lock:
            gone = [key for key in self._pins if covers(wanted, key)]
            for key in gone:
                del self._pins[key]
            self._version += bool(gone)
        return len(gone)

    def pins(self, now: datetime) -> tuple[Pin, ...]:
        with self._lock:
            kept = tuple(self._pins.values())
        return newest_first(pin for pin in kept if in_force(pin, now))

    def register(self, service: Service) -> bool:
        return self._serve(lambda known: joined(known, service)) is not None

    def unregister(self, service_id: str) -> bool:
        return bool(self._serve(lambda known: without(known, service_id)))

    def reweigh(self, weights: Mapping[str, float]) -> bool:
        return bool(self._serve(lambda known: reweighed(known, weights)))

    def services(self) -> Services:
        return self._services

    def close(self) -> None:
        """Nothing to give back."""

    def _serve(self, change: Callable[[Services], Services | None]) -> bool | None:
        """Whether a pure change changed the services; None where it refused."""
        with self._lock:
            before, after = self._services, change(self._services)
            if after is None:
                return None
            self._services = after
            self._version += after is not before
        return after is not before

    def _put(self, key: str, after: Breaker) -> Breaker:
        if after is not self._breakers.get(key, CLEAN):
            self._breakers[key] = after
            self._version += 1
        return after

    def _first(self, once: str, now: datetime) -> bool:
        """Whether this key is new; remembers it, and forgets those whose time is over."""
        seen_at = self._seen.get(once)
        if seen_at is not None and now - seen_at < EXPIRY:
            return False
        while self._seen and (len(self._seen) >= MAX_SEEN or now - next(iter(self._seen.values())) >= EXPIRY):
            self._seen.popitem(last=False)
        self._seen[once] = now
        return True
