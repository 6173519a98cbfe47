"""The meters that processes share: one SQLite file, which may be that of the state.

What was taken survives a killed process. A power cut may lose the last moments, which is no money: `synchronous=NORMAL`
is enough.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from sqlite3 import Connection
from typing import Final

from crew_moe.domain.meter import CLOSED, Busy, Demand, MeterStatus, Passage, Rate, Told, check_key
from crew_moe.state.bucket import Bucket
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
from crew_moe.state.sqlite.database import Database

TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS meters (
        key BLOB PRIMARY KEY, kind BLOB NOT NULL, at INTEGER NOT NULL, busy_until INTEGER NOT NULL,
        forget_at INTEGER NOT NULL, record TEXT NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS meters_busy ON meters (kind, busy_until)",
    "CREATE INDEX IF NOT EXISTS meters_forget ON meters (forget_at)",
    "CREATE TABLE IF NOT EXISTS passages (id TEXT PRIMARY KEY, ends INTEGER NOT NULL, record TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS passages_ends ON passages (ends)",
)


class SQLiteMeters:
    """Implements ports.Meters for all threads and processes that open the same file.

    Raises StateError when the file can't be opened, read or written. What is full again is forgotten in passing.
    """

    def __init__(self, path: Path | str) -> None:
        self._database = Database(Path(path), TABLES)

    def take(self, demands: Sequence[Demand], now: datetime, *, lease_s: float = 600.0) -> Passage | Busy:
        wanted, lease_us, at = demanded(demands), leased(lease_s), to_us(now)
        with self._database.writing() as connection:
            met = [(demand, _meter(connection, demand.key, at)) for demand in wanted]
            busy = refusal(met, at)
            if busy is not None:
                return busy
            passage_id = os.urandom(12).hex()
            for demand, meter in met:
                meter.take(demand, passage_id, lease_us, at)
                _put(connection, demand.key, meter)
            _forget(connection, at)
            row = (passage_id, at + lease_us, _demands_text(wanted))
            connection.execute("INSERT INTO passages VALUES (?, ?, ?)", row)
        return Passage(id=passage_id)

    def give_back(self, passage_id: str, now: datetime, *, used: Mapping[str, float] | None = None) -> None:
        units, at = used_units(used), to_us(now)
        if not passage_id.isascii():
            return  # no id of ours, and perhaps nothing that SQLite can look for
        with self._database.writing() as connection:
            found = connection.execute("SELECT ends, record FROM passages WHERE id = ?", (passage_id,)).fetchone()
            if found is None or found[0] <= at:
                return
            connection.execute("DELETE FROM passages WHERE id = ?", (passage_id,))
            for demand in _demands(found[1]):
                meter = _meter(connection, demand.key, at)
                meter.give_back(demand, passage_id, units, at)
                _put(connection, demand.key, meter)

    def tell(self, key: str, told: Sequence[Told], now: datetime) -> None:
        check_key(key)
        at = to_us(now)
        with self._database.writing() as connection:
            meter = _meter(connection, key, at)
            for said in told:
                meter.tell(said, at)
            _put(connection, key, meter)

    def close_until(self, key: str, until: datetime, now: datetime) -> None:
        check_key(key)
        at = to_us(now)
        with self._database.writing() as connection:
            meter = _meter(connection, key, at)
            meter.close(CLOSED, to_us(until), at)
            _put(connection, key, meter)

    def busy(self, now: datetime, *, kind: str) -> Mapping[str, datetime]:
        at = to_us(now)
        with self._database.reading() as connection:
            found = _busy(connection, kind, at)
        ahead = [key for key, moment, _ in found if moment > at + CLOCK_TOLERANCE_US]
        if ahead:
            with self._database.writing() as connection:
                for key in ahead:
                    _meter(connection, key, at)
                found = _busy(connection, kind, at)
        return {key: from_us(until) for key, moment, until in found if until > moment}

    def status(self, key: str, now: datetime) -> MeterStatus:
        check_key(key)
        at = to_us(now)
        with self._database.writing() as connection:
            return _meter(connection, key, at).status(key, at)

    def close(self) -> None:
        """Give the file back; idempotent."""
        self._database.close()


def _blob(key: str) -> bytes:
    """Keys may hold whatever a string holds; SQLite's texts may not."""
    return key.encode("utf-8", "surrogatepass")


def _busy(connection: Connection, kind: str, at: int) -> list[tuple[str, int, int]]:
    """Key, when it was last changed, until when it is busy."""
    found = connection.execute(
        "SELECT key, at, busy_until FROM meters WHERE kind = ? AND busy_until > ?", (_blob(kind), at)
    )
    return [(key.decode("utf-8", "surrogatepass"), changed, until) for key, changed, until in found]


def _meter(connection: Connection, key: str, at: int) -> Meter:
    """The meter, at its own time. What had to be moved along is stored at once: a refused call stores nothing."""
    row = (_blob(key), at)
    found = connection.execute("SELECT record FROM meters WHERE key = ? AND forget_at > ?", row).fetchone()
    if found is None:
        return Meter(at=at)
    meter = _loaded(found[0])
    changed = meter.at
    if meter.clock(at) < changed:
        _put(connection, key, meter)
    return meter


def _put(connection: Connection, key: str, meter: Meter) -> None:
    row = (_blob(key), _blob(kind_of(key)), meter.at, meter.busy_until(), meter.forget_at(), _text(meter))
    connection.execute("INSERT OR REPLACE INTO meters VALUES (?, ?, ?, ?, ?, ?)", row)


def _forget(connection: Connection, at: int) -> None:
    connection.execute("DELETE FROM meters WHERE forget_at <= ?", (at - KEEP_US,))
    connection.execute("DELETE FROM passages WHERE ends <= ?", (at - KEEP_US,))


def _text(meter: Meter) -> str:
    rates = {name: (b.at, b.per_us, b.capacity, b.asked, b.debt) for name, b in meter.rates.items()}
    return json.dumps((meter.at, meter.limit, rates, meter.places, meter.closed), separators=(",", ":"))


def _loaded(text: str) -> Meter:
    at, limit, rates, places, closed = json.loads(text)
    buckets = {
        name: Bucket(at=since, per_us=per_us, capacity=capacity, asked=asked, debt=debt)
        for name, (since, per_us, capacity, asked, debt) in rates.items()
    }
    return Meter(at=at, limit=limit, rates=buckets, places=places, closed=closed)


def _demands_text(demands: Iterable[Demand]) -> str:
    rows = [
        (demand.key, [(rate.name, rate.capacity, rate.per_s, rate.amount) for rate in demand.rates])
        for demand in demands
    ]
    return json.dumps(rows, separators=(",", ":"))


def _demands(text: str) -> list[Demand]:
    """What a passage took; how many places there are is the meter's business."""
    return [
        Demand(key=key, rates=tuple(Rate(name=n, capacity=c, per_s=p, amount=a) for n, c, p, a in rates))
        for key, rates in json.loads(text)
    ]
