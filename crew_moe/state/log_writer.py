"""The thread that stores decision rows behind the caller's back: many rows to a commit, none waited for."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Sequence
from typing import Final
from weakref import WeakSet

import structlog

from crew_moe.errors import StateError
from crew_moe.state.decision_log import (
    CLOSING,
    GENESIS,
    Backlog,
    Entry,
    Envelope,
    RowBuilder,
    canonical,
    closing_row,
    seal,
)
from crew_moe.state.forking import survives_fork

CAPACITY: Final = 10_000
COMMIT_WITHIN_S: Final = 0.04  # of the 50 ms that a row may wait; the rest is for building and storing it
RETRY_AFTER_S: Final = 1.0

_log = structlog.get_logger(__name__)


class LogWriter:
    """Takes rows at once, builds, links and stores them on a thread of its own, which starts with the first row.

    `store` gets the rows of one commit and must take all or none; it may get rows a second time when it failed before.
    A row that finds the queue full is dropped and counted; its sequence number stays missing in the chain. Rows stay
    visible to `find` and `newest` until they are stored. While storage fails they wait in the queue, and are tried
    again every second. A forked child starts with an empty queue, a new chain and its own thread.
    """

    def __init__(
        self,
        store: Callable[[Sequence[Envelope]], None],
        *,
        capacity: int = CAPACITY,
        commit_within_s: float = COMMIT_WITHIN_S,
        retry_after_s: float = RETRY_AFTER_S,
    ) -> None:
        self._store = store
        self._capacity = capacity
        self._commit_within_s = commit_within_s
        self._retry_after_s = retry_after_s
        self._closed = False
        self.begin_anew()
        survives_fork(self)
        _UNCLOSED.add(self)

    def begin_anew(self) -> None:
        """A new chain with nothing in it; what the parent of a forked child had queued, the parent stores."""
        self.writer_id = os.urandom(8).hex()
        self.dropped = 0
        self.failed = 0
        self._wake = threading.Condition(threading.Lock())
        self._rows = Backlog()
        self._taken = 0
        self._settled = 0
        self._tries = 0
        self._failed_try = 0
        self._pause_s = self._commit_within_s
        self._head = GENESIS
        self._idle = True
        self._urgent = False
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """Rows that are not stored yet."""
        return len(self._rows)

    def append(self, decision_id: str, row: RowBuilder, *, decisions: int = 1) -> None:
        """Take one row; costs about a microsecond, whatever storage does."""
        with self._wake:
            self._taken += 1
            full = len(self._rows) and self._rows.decisions + decisions > self._capacity
            if self._closed or full:
                self.dropped += 1
                return
            self._rows.push((self._taken, decision_id, row, decisions))
            if self._idle:
                self._rouse()

    def find(self, decision_id: str) -> RowBuilder | None:
        """The builder of a row that is not stored yet."""
        with self._wake:
            return self._rows.find(decision_id)

    def newest(self, count: int) -> list[Entry]:
        """Up to `count` rows that are not stored yet, newest first."""
        with self._wake:
            return self._rows.newest(count)

    def flush(self) -> None:
        """Return when every row taken so far is stored; StateError when a try that begins now fails."""
        with self._wake:
            newest = self._rows.newest(1)
            if not newest:
                return
            due, tries = newest[0][0], self._tries
            self._urgent = True
            self._wake.notify_all()
            self._wake.wait_for(lambda: self._settled >= due or self._failed_try > tries)
            if self._settled < due:
                raise StateError(f"{len(self._rows)} rows of the decision log are not stored yet")

    def close(self) -> None:
        """Store what is queued and a closing row, end the thread; rows that can't be stored are logged as lost."""
        with self._wake:
            if self._taken and not self._closed:
                self._taken += 1
                self._rows.push((self._taken, CLOSING, closing_row, 1))
                self._rouse()
            self._closed = True
            thread = self._thread
        if thread is not None:
            thread.join()

    def _rouse(self) -> None:
        """Called with the lock held."""
        self._idle = False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="crew-moe-decision-log", daemon=True)
            self._thread.start()
        self._wake.notify_all()

    def _run(self) -> None:
        closed, reported = False, 0
        while not closed:
            closed, entries = self._gather()
            if self.dropped > reported:
                reported = self.dropped
                _log.warning("decision_rows_dropped", writer=self.writer_id, dropped=reported)
            envelopes = self._sealed(entries)
            stored = self._stored(envelopes)
            with self._wake:
                self._settle(entries, envelopes, stored=stored)
        if len(self._rows):
            _log.error("decision_rows_lost", writer=self.writer_id, rows=len(self._rows))

    def _gather(self) -> tuple[bool, tuple[Entry, ...]]:
        """Wait for rows, then for more of them or for somebody in a hurry; (closed, the rows of one commit)."""
        with self._wake:
            self._idle = not len(self._rows)
            self._wake.wait_for(lambda: len(self._rows) or self._closed)
            self._wake.wait_for(lambda: self._urgent or self._closed, timeout=self._pause_s)
            self._urgent = False
            self._tries += 1
            return self._closed, self._rows.all()

    def _sealed(self, entries: Sequence[Entry]) -> list[Envelope]:
        """The rows linked to the last stored one; a row that can't be built is counted and left out."""
        envelopes: list[Envelope] = []
        previous = self._head
        for sequence, decision_id, build, _ in entries:
            try:
                envelope = seal(self.writer_id, sequence, previous, decision_id, canonical(build()))
            except Exception as error:  # noqa: BLE001 - the thread's edge: a caller's builder may raise anything
                self.failed += 1
                _log.error("decision_row_unreadable", decision_id=decision_id, error=repr(error))
                continue
            envelopes.append(envelope)
            previous = envelope.hash
        return envelopes

    def _stored(self, envelopes: Sequence[Envelope]) -> bool:
        try:
            self._store(envelopes)
        except Exception as error:  # noqa: BLE001 - the thread's edge: telemetry fails open, logged and counted
            if self._pause_s == self._commit_within_s:  # once per outage, not once per try
                _log.error("decision_log_not_stored", rows=len(envelopes), error=str(error))
            return False
        return True

    def _settle(self, entries: Sequence[Entry], envelopes: Sequence[Envelope], *, stored: bool) -> None:
        """Called with the lock held."""
        if stored:
            for _ in entries:
                self._rows.pop()
            self._settled = entries[-1][0]
            self._head = envelopes[-1].hash if envelopes else self._head
        else:
            self._failed_try = self._tries
        self._pause_s = self._commit_within_s if stored else self._retry_after_s
        self._wake.notify_all()


_UNCLOSED: Final[WeakSet[LogWriter]] = WeakSet()


@atexit.register
def _close_all() -> None:
    """A program that ends without closing its log still stores its last rows."""
    for writer in list(_UNCLOSED):
        writer.close()
