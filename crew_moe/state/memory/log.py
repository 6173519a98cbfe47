"""The decision log of one process: the last 10,000 rows, unbuilt until somebody reads them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from crew_moe.state.decision_log import (
    CLOSING,
    GENESIS,
    Backlog,
    Envelope,
    RowBuilder,
    canonical,
    closing_row,
    read_row,
    seal,
)
from crew_moe.state.forking import survives_fork

CAPACITY: Final = 10_000


class MemoryLog:
    """Implements ports.DecisionLog; `append` keeps the builder alone, which must give the same row each time.

    A row costs CPU only when it is read. The chain, too, is built by its reader: `chain` links the kept rows, oldest
    first, to the last row that an earlier reading linked, and remembers of each no more than the hash before it. So
    hashes never change between readings, and rows that were forgotten unread are a gap.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._writer = os.urandom(8).hex()
        self._taken = 0
        self._closed = False
        self._rows = Backlog()
        self._head = GENESIS
        self._previous: dict[int, str] = {}
        self.begin_anew()
        survives_fork(self)

    def begin_anew(self) -> None:
        """After a fork: the rows stay, the parent's locks do not."""
        self._lock = threading.Lock()
        self._chaining = threading.Lock()

    def append(self, decision_id: str, row: RowBuilder, *, decisions: int = 1) -> None:
        """Take one row; after `close` it is left out."""
        with self._lock:
            if not self._closed:
                self._push(decision_id, row, decisions)

    def get(self, decision_id: str) -> Mapping[str, Any] | None:
        """The newest row of that id, or None."""
        if decision_id == CLOSING:
            return None
        with self._lock:
            build = self._rows.find(decision_id)
        return None if build is None else read_row(build)

    def tail(self, count: int) -> Sequence[Mapping[str, Any]]:
        """The newest rows, newest first."""
        with self._lock:
            entries = self._rows.newest(count + 1)
        return [read_row(build) for _, decision_id, build, _ in entries if decision_id != CLOSING][:count]

    def chain(self) -> Iterator[Envelope]:
        """Every kept row in its envelope, oldest first, for decision_log.verify."""
        with self._chaining:
            with self._lock:
                entries = self._rows.all()
            envelopes: list[Envelope] = []
            head = self._head
            for sequence, decision_id, build, _ in entries:
                linked = self._previous.get(sequence)
                previous = head if linked is None else linked
                envelopes.append(seal(self._writer, sequence, previous, decision_id, canonical(build())))
                head = head if linked is not None else envelopes[-1].hash
            self._head = head
            self._previous = {envelope.sequence: envelope.previous for envelope in envelopes}
        return iter(envelopes)

    def flush(self) -> None:
        """Nothing to wait for: what was taken is all there is."""

    def close(self) -> None:
        """End the chain with a closing row; what is there stays readable."""
        with self._lock:
            if self._taken and not self._closed:
                self._push(CLOSING, closing_row)
            self._closed = True

    def _push(self, decision_id: str, row: RowBuilder, decisions: int = 1) -> None:
        """Forget the oldest rows until this one has room; one that fills the log alone is kept alone."""
        self._taken += 1
        while len(self._rows) and self._rows.decisions + decisions > self._capacity:
            self._rows.pop()
        self._rows.push((self._taken, decision_id, row, decisions))
