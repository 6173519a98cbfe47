"""The meters of one process: plain dictionaries under one lock."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from crew_moe.domain.meter import CLOSED, Busy, Demand, MeterStatus, Passage, Told, check_key
from crew_moe.state.forking import survives_fork
from crew_moe.state.meter import (
    CLOCK_TOLERANCE_US,
    KEEP_US,
    Meter,
    demanded,
    from_us,
    kind_of,
    leased,
    refusal,
    to_us,
    used_units,
)

FEW: Final = 64  # of these it is not worth while to look for what may be forgotten


class MemoryMeters:
    """Implements ports.Meters for all threads of one process; forgotten when it ends.

    Meters that are full again and passages whose lease is over are forgotten before their number has doubled.
    """

    def __init__(self) -> None:
        self._meters: dict[str, Meter] = {}
        self._kinds: dict[str, dict[str, Meter]] = {}
        self._passages: dict[str, tuple[int, tuple[Demand, ...]]] = {}  # when its lease ends, what it took
        self._most_meters = self._most_passages = FEW
        self.begin_anew()
        survives_fork(self)

    def begin_anew(self) -> None:
        """After a fork: what was taken stays so; the lock and the numbers are the child's own."""
        self._lock = threading.Lock()
        self._prefix = f"{os.urandom(8).hex()}-"
        self._numbers = itertools.count(1)

    def take(self, demands: Sequence[Demand], now: datetime, *, lease_s: float = 600.0) -> Passage | Busy:
        wanted, lease_us, at = demanded(demands), leased(lease_s), to_us(now)
        with self._lock:
            self._forget(at)
            met = [(demand, self._meter(demand.key, at)) for demand in wanted]
            busy = refusal(met, at)
            if busy is not None:
                return busy
            passage_id = f"{self._prefix}{next(self._numbers)}"
            for demand, meter in met:
                meter.take(demand, passage_id, lease_us, at)
                self._keep(demand.key, meter)
            self._passages[passage_id] = (at + lease_us, wanted)
        return Passage(id=passage_id)

    def give_back(self, passage_id: str, now: datetime, *, used: Mapping[str, float] | None = None) -> None:
        units, at = used_units(used), to_us(now)
        with self._lock:
            self._forget(at)
            ends, demands = self._passages.pop(passage_id, (at, ()))
            if ends > at:
                for demand in demands:
                    meter = self._meter(demand.key, at)
                    meter.give_back(demand, passage_id, units, at)
                    self._keep(demand.key, meter)

    def tell(self, key: str, told: Sequence[Told], now: datetime) -> None:
        check_key(key)
        at = to_us(now)
        with self._lock:
            self._forget(at)
            meter = self._meter(key, at)
            for said in told:
                meter.tell(said, at)
            self._keep(key, meter)

    def close_until(self, key: str, until: datetime, now: datetime) -> None:
        check_key(key)
        at = to_us(now)
        with self._lock:
            self._forget(at)
            meter = self._meter(key, at)
            meter.close(CLOSED, to_us(until), at)
            self._keep(key, meter)

    def busy(self, now: datetime, *, kind: str) -> Mapping[str, datetime]:
        at = to_us(now)
        with self._lock:
            shut = [(key, meter) for key, meter in self._kinds.get(kind, {}).items() if meter.busy_until() > at]
            found = [(key, meter.clock(at), meter.busy_until()) for key, meter in shut]
        return {key: from_us(until) for key, moment, until in found if until > moment}

    def status(self, key: str, now: datetime) -> MeterStatus:
        check_key(key)
        at = to_us(now)
        with self._lock:
            return self._meter(key, at).status(key, at)

    def close(self) -> None:
        """Nothing to give back."""

    def _meter(self, key: str, at: int) -> Meter:
        """The meter, at its own time; a new one, not kept, where there is none to remember."""
        meter = self._meters.get(key)
        # The second comparison saves the third, which looks at everything that the meter holds.
        if meter is None or (at - meter.at > CLOCK_TOLERANCE_US and at >= meter.forget_at()):
            return Meter(at=at)
        meter.clock(at)
        return meter

    def _keep(self, key: str, meter: Meter) -> None:
        if self._meters.get(key) is not meter:
            self._meters[key] = self._kinds.setdefault(kind_of(key), {})[key] = meter

    def _forget(self, at: int) -> None:
        if len(self._meters) > self._most_meters:
            kept = {key: meter for key, meter in self._meters.items() if meter.forget_at() + KEEP_US > at}
            self._meters, self._kinds = {}, {}
            for key, meter in kept.items():
                self._keep(key, meter)
            self._most_meters = max(FEW, 2 * len(kept))
        if len(self._passages) > self._most_passages:
            self._passages = {name: kept for name, kept in self._passages.items() if kept[0] > at}
            self._most_passages = max(FEW, 2 * len(self._passages))
