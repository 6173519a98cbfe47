"""One SQLite file as the stores use it: write-ahead log, atomic writes, one clear sentence when it fails.

One connection under one lock, not one per thread: SQLite lets one writer in at a time anyway, a read takes some
microseconds, and short-lived threads of a pool leave no open files behind. `synchronous=NORMAL` is enough for what is
learned: what was acknowledged survives a killed process, and losing the last moments to a power cut costs averages.
Money asks for `durable`: with `synchronous=FULL` it survives the power cut too.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from crew_moe.errors import StateError
from crew_moe.state.forking import survives_fork

LAYOUT: Final = 1
BUSY_S: Final = 5.0
TURN_MS: Final = 5
_PARENTS: Final[list[sqlite3.Connection]] = []


class Database:
    """A file that several threads and processes share; made on opening, though not its folder.

    Raises StateError for whatever keeps it from being opened, read or written.
    """

    def __init__(self, path: Path, tables: Sequence[str], *, durable: bool = False) -> None:
        self.path = path
        self._tables = tables
        self._synchronous = "FULL" if durable else "NORMAL"
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._lock = threading.RLock()
        with self.reading():
            survives_fork(self, held=self._lock)

    def begin_anew(self) -> None:
        """After a fork: SQLite forbids to use, and even to close, a connection of the parent; it is kept unused."""
        if self._connection is not None:
            _PARENTS.append(self._connection)
        self._connection = None
        self._lock = threading.RLock()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one statement that reads."""
        with self._lock:
            if self._closed:
                raise StateError(f"the state in {self.path} is closed")
            try:
                if self._connection is None:
                    self._connection = self._open()
                yield self._connection
            except sqlite3.Error as error:
                raise StateError(f"the state in {self.path} can't be used: {error}") from error

    @contextmanager
    def viewing(self) -> Iterator[sqlite3.Connection]:
        """The connection, for several statements that see the same moment."""
        with self.reading() as connection, _transaction(connection, "BEGIN"):
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The connection inside a transaction that nobody else can write in; all or nothing."""
        with self.reading() as connection, _transaction(connection, "BEGIN IMMEDIATE"):
            yield connection

    def close(self) -> None:
        """Idempotent; waits for a write under way."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _open(self) -> sqlite3.Connection:
        if not os.path.isdir(self.path.parent):  # unlike Path.is_dir it has an answer where permission is missing
            raise StateError(f"the state in {self.path} can't be used: there is no folder {self.path.parent}")
        connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        _write_ahead(connection)
        connection.execute(f"PRAGMA synchronous={self._synchronous}")
        with _transaction(connection, "BEGIN IMMEDIATE"):
            layout = connection.execute("PRAGMA user_version").fetchone()[0]
            if layout not in (0, LAYOUT):
                raise StateError(f"the state in {self.path} has layout {layout}; this version reads layout {LAYOUT}")
            connection.execute(f"PRAGMA user_version={LAYOUT}")
            for statement in self._tables:
                connection.execute(statement)


def change_mark(connection: sqlite3.Connection) -> tuple[int, int]:
    """Differs after every commit by another connection, and from one connection to the next; reads no table."""
    return os.getpid(), int(connection.execute("PRAGMA data_version").fetchone()[0])


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    _take_turn(connection, begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite rolls some failures (a full disk) back by itself
            connection.execute("ROLLBACK")
        raise


def _take_turn(connection: sqlite3.Connection, begin: str) -> None:
    """Begin, as soon as nobody else writes.

    Who waits asks every millisecond or two. SQLite by itself asks less and less often, down to ten times a second, so
    that of several busy processes the one that waits the longest is the least likely to get in.
    """
    deadline = time.monotonic() + BUSY_S
    connection.execute(f"PRAGMA busy_timeout={TURN_MS}")
    try:
        while True:
            try:
                connection.execute(begin)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise
            else:
                return
    finally:
        connection.execute(f"PRAGMA busy_timeout={int(BUSY_S * 1000)}")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log; two processes that make one file at once answer 'locked' without waiting."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(0.01)
            continue
        if mode != "wal":
            raise sqlite3.OperationalError(f"its file system knows no write-ahead log (journal mode '{mode}')")
        return
