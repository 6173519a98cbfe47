"""The state store that processes share: one SQLite file.

Every change reads, computes and writes inside one immediate transaction, so that no update is lost between threads or
processes. A call that leaves a breaker as it was, which is every call while all is well, only reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from sqlite3 import Connection
from typing import Final

from crew_moe.domain.outcome import Sample
from crew_moe.domain.policy import BreakerPolicy
from crew_moe.domain.service import Service
from crew_moe.domain.snapshot import Breaker, Performance, Pin
from crew_moe.state import breaker as breakers
from crew_moe.state import rows
from crew_moe.state.performance import EXPIRY, as_read, fold
from crew_moe.state.pins import covers, in_force, newest_first, scope
from crew_moe.state.services import KnownServices, Services, joined, reweighed, services_in, text_of, without
from crew_moe.state.sqlite.database import Database, change_mark

TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS state_version (number INTEGER NOT NULL)",
    "INSERT INTO state_version SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM state_version)",
    """CREATE TABLE IF NOT EXISTS performance (
        expert_id TEXT NOT NULL, task_type TEXT NOT NULL,
        samples REAL NOT NULL, success_rate REAL, latency_ms REAL, cost_usd REAL, input_tokens REAL,
        output_tokens REAL, quality REAL, learned REAL, updated_at TEXT NOT NULL,
        PRIMARY KEY (expert_id, task_type)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS breakers (
        key TEXT PRIMARY KEY, state TEXT NOT NULL, failures INTEGER NOT NULL, ejections INTEGER NOT NULL,
        until TEXT, probes INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS pins (
        expert_id TEXT NOT NULL, task_type TEXT, task TEXT, tenant TEXT, reason TEXT NOT NULL,
        "by" TEXT NOT NULL, created_at TEXT NOT NULL, expires_at TEXT)""",
    "CREATE TABLE IF NOT EXISTS seen (key TEXT PRIMARY KEY, at TEXT NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS seen_at ON seen (at)",
    "CREATE TABLE IF NOT EXISTS services (registered TEXT NOT NULL)",  # all in one row, or none
)
_ONE: Final = "expert_id = ? AND task_type IS ? AND task IS ? AND tenant IS ?"


class SQLiteStore:
    """Implements ports.StateStore for all threads and processes that open the same file.

    Raises StateError when the file can't be opened, read or written. The keys of `once` are kept for 30 days.
    """

    def __init__(self, path: Path | str, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._database = Database(Path(path), TABLES)
        self._known: tuple[tuple[int, int], int] | None = None
        self._services = KnownServices()

    def version(self) -> int:
        """A number in the file that grows with every change; read again only after somebody committed."""
        with self._database.reading() as connection:
            mark = change_mark(connection)
            if self._known is None or self._known[0] != mark:
                number = connection.execute("SELECT number FROM state_version").fetchone()[0]
                self._known = (mark, int(number))
            return self._known[1]

    def record(self, sample: Sample, now: datetime, *, once: str | None = None) -> bool:
        key = (sample.expert_id, sample.task_type)
        with self._database.writing() as connection:
            if once is not None and not _first(connection, once, now):
                return False
            found = connection.execute(
                "SELECT * FROM performance WHERE expert_id = ? AND task_type = ?", key
            ).fetchone()
            after = fold(None if found is None else rows.performance(found[2:]), sample, now)
            connection.execute(
                "INSERT OR REPLACE INTO performance VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*key, *rows.columns(after)),
            )
            self._changed(connection)
        return True

    def performance(self, now: datetime) -> Mapping[tuple[str, str], Performance]:
        with self._database.reading() as connection:
            found = connection.execute("SELECT * FROM performance").fetchall()
        read = (((row[0], row[1]), as_read(rows.performance(row[2:]), now)) for row in found)
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
        with self._database.reading() as connection:
            found = connection.execute("SELECT * FROM breakers").fetchall()
        return {row[0]: rows.breaker(row[1:]) for row in found}

    def pin(self, pin: Pin) -> None:
        with self._database.writing() as connection:
            for old in _pins(connection):
                if not in_force(old, pin.created_at) or scope(old) == scope(pin):
                    _drop(connection, old)
            connection.execute("INSERT INTO pins VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows.columns(pin))
            self._changed(connection)

    def unpin(self, *, expert_id: str | None, task_type: str | None, task: str | None, tenant: str | None) -> int:
        wanted = (expert_id, task_type, task, tenant)
        with self._database.writing() as connection:
            gone = [old for old in _pins(connection) if covers(wanted, scope(old))]
            for old in gone:
                _drop(connection, old)
            if gone:
                self._changed(connection)
        return len(gone)

    def pins(self, now: datetime) -> tuple[Pin, ...]:
        with self._database.reading() as connection:
            found = _pins(connection)
        return newest_first(pin for pin in found if in_force(pin, now))

    def register(self, service: Service) -> bool:
        return self._serve(lambda known: joined(known, service)) is not None

    def unregister(self, service_id: str) -> bool:
        return bool(self._serve(lambda known: without(known, service_id)))

    def reweigh(self, weights: Mapping[str, float]) -> bool:
        return bool(self._serve(lambda known: reweighed(known, weights)))

    def services(self) -> Services:
        with self._database.reading() as connection:
            return self._services.read(_registered(connection))

    def close(self) -> None:
        """Give the file back; idempotent."""
        self._database.close()

    def _change(self, key: str, change: Callable[[Breaker], Breaker]) -> Breaker:
        """Apply a pure change to one breaker, atomically; a change that changes nothing takes no write lock."""
        with self._database.reading() as connection:
            before = _breaker(connection, key)
        if change(before) is before:
            return before
        with self._database.writing() as connection:
            before = _breaker(connection, key)
            after = change(before)
            if after is not before:
                connection.execute(
                    "INSERT OR REPLACE INTO breakers VALUES (?, ?, ?, ?, ?, ?)", (key, *rows.columns(after))
                )
                self._changed(connection)
        return after

    def _serve(self, change: Callable[[Services], Services | None]) -> bool | None:
        """Whether a pure change changed the services; None where it refused."""
        with self._database.writing() as connection:
            before = services_in(_registered(connection))
            after = change(before)
            if after is None or after is before:
                return None if after is None else False
            connection.execute("DELETE FROM services")
            connection.execute("INSERT INTO services VALUES (?)", (text_of(after),))
            self._changed(connection)
        return True

    def _changed(self, connection: Connection) -> None:
        connection.execute("UPDATE state_version SET number = number + 1")
        self._known = None


def _breaker(connection: Connection, key: str) -> Breaker:
    row = connection.execute("SELECT * FROM breakers WHERE key = ?", (key,)).fetchone()
    return Breaker() if row is None else rows.breaker(row[1:])


def _pins(connection: Connection) -> list[Pin]:
    return [rows.pin(row) for row in connection.execute("SELECT * FROM pins")]


def _registered(connection: Connection) -> str:
    row = connection.execute("SELECT registered FROM services").fetchone()
    return "" if row is None else str(row[0])


def _drop(connection: Connection, pin: Pin) -> None:
    connection.execute(f"DELETE FROM pins WHERE {_ONE}", scope(pin))  # noqa: S608 - a constant of this module


def _first(connection: Connection, once: str, now: datetime) -> bool:
    """Whether this key is new; remembers it, and forgets those whose time is over."""
    connection.execute("DELETE FROM seen WHERE at <= ?", (rows.stamp(now - EXPIRY),))
    return connection.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (once, rows.stamp(now))).rowcount == 1
