"""The state store that hosts share: one Redis database.

A change is computed here, by the same pure functions as in every store, from the value that was read, and put in place
only if that value is still there; whoever comes too late computes again. So no update is lost between threads,
processes and hosts, and no lock outlives its holder. A call that leaves a breaker as it was only reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import ClassVar, Final

from crew_moe.domain.outcome import Sample
from crew_moe.domain.policy import BreakerPolicy
from crew_moe.domain.service import Service
from crew_moe.domain.snapshot import Breaker, Performance, Pin
from crew_moe.state import breaker as breakers
from crew_moe.state.performance import EXPIRY, as_read, fold
from crew_moe.state.pins import covers, in_force, newest_first, scope
from crew_moe.state.redis import rows
from crew_moe.state.redis.connection import PREFIX, Connection, script
from crew_moe.state.rows import stamp
from crew_moe.state.services import KnownServices, Services, joined, reweighed, services_in, text_of, without

TAG: Final = PREFIX + "{state}:"
VERSION: Final = TAG + "version"
PERFORMANCE: Final = TAG + "performance"
BREAKERS: Final = TAG + "breakers"
OVERRIDES: Final = TAG + "overrides"
PINS: Final = "pins"  # the only field of OVERRIDES
SERVICES: Final = TAG + "services"
REGISTERED: Final = "registered"  # the only field of SERVICES
COUNTED: Final = TAG + "counted:"
CLEAN: Final = Breaker()
_LIFE_MS: Final = EXPIRY // timedelta(milliseconds=1)

Change = Callable[[str], str | None]  # the text after the text before ('' for none); None leaves it as it is


class RedisStore:
    """Implements ports.StateStore for all who open the same database.

    Raises StateError when the server can't be reached or refuses; a change whose answer was lost may have been made.
    The keys of `once` are kept for 30 days, by the server's clock as well as by the caller's.
    """

    remote: ClassVar[bool] = True  # a look crosses a network

    def __init__(self, url: str, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._connection = Connection(url)
        self._swap_script = script("state_swap")
        self._services = KnownServices()

    def version(self) -> int:
        """Grows with every change, and jumps when the server lost its data."""
        return int(self._connection.execute("GET", VERSION) or 0)

    def record(self, sample: Sample, now: datetime, *, once: str | None = None) -> bool:
        def change(before: str) -> str:
            return rows.text(fold(rows.performance(before) if before else None, sample, now))

        field = rows.record_field(sample.expert_id, sample.task_type)
        return self._swap(PERFORMANCE, field, change, None if once is None else (once, now))

    def performance(self, now: datetime) -> Mapping[tuple[str, str], Performance]:
        found = self._connection.execute("HGETALL", PERFORMANCE)
        read = ((rows.record_key(field), as_read(rows.performance(row), now)) for field, row in found.items())
        return {key: performance for key, performance in read if performance is not None}

    def admit(self, key: str, now: datetime) -> bool:
        passes = False

        def change(before: Breaker) -> Breaker:
            nonlocal passes
            after, passes = breakers.admit(before, self._policy, now)
            return after

        self._change(key, change)
        return passes

    def succeed(self, key: str, now: datetime) -> Breaker:
        return self._change(key, lambda before: breakers.succeed(before, now))

    def fail(self, key: str, now: datetime, *, eject_ms: float | None = None) -> Breaker:
        return self._change(key, lambda before: breakers.fail(before, self._policy, now, eject_ms=eject_ms))

    def cancel(self, key: str, now: datetime) -> Breaker:  # noqa: ARG002 - the port's shape
        return self._change(key, breakers.cancel)

    def breakers(self) -> Mapping[str, Breaker]:
        found = self._connection.execute("HGETALL", BREAKERS)
        return {key: rows.breaker(row) for key, row in found.items()}

    def pin(self, pin: Pin) -> None:
        def change(before: str) -> str:
            kept = (old for old in rows.pins(before) if in_force(old, pin.created_at) and scope(old) != scope(pin))
            return rows.pins_text([*kept, pin])

        self._swap(OVERRIDES, PINS, change)

    def unpin(self, *, expert_id: str | None, task_type: str | None, task: str | None, tenant: str | None) -> int:
        wanted = (expert_id, task_type, task, tenant)
        gone = 0

        def change(before: str) -> str | None:
            nonlocal gone
            found = rows.pins(before)
            kept = [old for old in found if not covers(wanted, scope(old))]
            gone = len(found) - len(kept)
            return rows.pins_text(kept) if gone else None

        self._swap(OVERRIDES, PINS, change)
        return gone

    def pins(self, now: datetime) -> tuple[Pin, ...]:
        found = rows.pins(self._connection.execute("HGET", OVERRIDES, PINS) or rows.MISSING)
        return newest_first(pin for pin in found if in_force(pin, now))

    def register(self, service: Service) -> bool:
        return self._serve(lambda known: joined(known, service)) is not None

    def unregister(self, service_id: str) -> bool:
        return bool(self._serve(lambda known: without(known, service_id)))

    def reweigh(self, weights: Mapping[str, float]) -> bool:
        return bool(self._serve(lambda known: reweighed(known, weights)))

    def services(self) -> Services:
        return self._services.read(self._connection.execute("HGET", SERVICES, REGISTERED) or rows.MISSING)

    def close(self) -> None:
        """Give the sockets back; idempotent."""
        self._connection.close()

    def _change(self, key: str, change: Callable[[Breaker], Breaker]) -> Breaker:
        after = CLEAN

        def change_text(before: str) -> str | None:
            nonlocal after
            found = rows.breaker(before) if before else CLEAN
            after = change(found)
            return None if after is found else rows.text(after)

        self._swap(BREAKERS, key, change_text)
        return after

    def _serve(self, change: Callable[[Services], Services | None]) -> bool | None:
        """Whether a pure change changed the services; None where it refused."""
        changed: bool | None = None

        def change_text(before: str) -> str | None:
            nonlocal changed
            known = services_in(before)
            after = change(known)
            changed = None if after is None else after is not known
            return text_of(after) if after is not None and changed else None

        self._swap(SERVICES, REGISTERED, change_text)
        return changed

    def _swap(self, values: str, field: str, change: Change, once: tuple[str, datetime] | None = None) -> bool:
        """Apply a pure change to one value, atomically; False when `once` (a key, seen now) counted before."""
        keys: tuple[str, ...] = (values, VERSION)
        times: tuple[str | int, ...] = ()
        if once is not None:
            key, now = once
            keys, times = (*keys, COUNTED + key), (stamp(now), stamp(now - EXPIRY), _LIFE_MS)
        before: str = self._connection.execute("HGET", values, field) or rows.MISSING
        while (after := change(before)) is not None:
            answer, *found = self._connection.run(self._swap_script, keys, (field, before, after, *times))
            if answer != "stale":
                return bool(answer == "done")
            before = found[0]
        return True
