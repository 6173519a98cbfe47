"""The decision log in Redis: one stream of rows for all writers, the newest kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from crew_moe.state.decision_log import CLOSING, Envelope, RowBuilder, read_row
from crew_moe.state.log_writer import LogWriter
from crew_moe.state.redis.connection import PREFIX, Connection, script

TAG: Final = PREFIX + "{log}:"
ROWS: Final = TAG + "rows"
BY_ID: Final = TAG + "by_id"
WRITERS: Final = TAG + "writers"
BYTES: Final = TAG + "bytes"
KEPT_ROWS: Final = 100_000
KEPT_BYTES: Final = 256 * 2**20  # budgets need the same memory, and fail closed without it
ROWS_AT_ONCE: Final = 250  # a script holds up everybody else: some milliseconds for so many
PAGE: Final = 100  # a row of a large batch is large

Stored = tuple[str, Mapping[str, str]]  # the stream's id, the envelope's fields


class RedisLog:
    """Implements ports.DecisionLog; many threads, processes and hosts may write one database, each process its chain.

    The newest 100,000 rows are kept, or as many as 256 MiB hold. Reading sees this process's rows at once, those of
    others when they are stored. Raises StateError when the server can't be reached; `append` never raises.
    """

    def __init__(self, url: str, *, kept_rows: int = KEPT_ROWS, kept_bytes: int = KEPT_BYTES) -> None:
        self._connection = Connection(url)
        self._append_script = script("log_append")
        self._kept = (kept_rows, kept_bytes)
        self._writer = LogWriter(self._store)

    @property
    def dropped(self) -> int:
        """Rows of this process that found the queue full."""
        return self._writer.dropped

    @property
    def waiting(self) -> int:
        """Rows of this process that are not stored yet."""
        return self._writer.waiting

    @property
    def failed(self) -> int:
        """Rows of this process that could not be built."""
        return self._writer.failed

    def append(self, decision_id: str, row: RowBuilder, *, decisions: int = 1) -> None:
        """Take one row; it is stored within about 50 ms."""
        self._writer.append(decision_id, row, decisions=decisions)

    def get(self, decision_id: str) -> Mapping[str, Any] | None:
        """The newest row of that id, or None."""
        if decision_id == CLOSING:
            return None
        build = self._writer.find(decision_id)
        if build is not None:
            return read_row(build)
        entry_id = self._connection.execute("HGET", BY_ID, decision_id)
        found = [] if entry_id is None else self._connection.execute("XRANGE", ROWS, entry_id, entry_id)
        return _parsed(found[0][1]["row"]) if found else None

    def tail(self, count: int) -> Sequence[Mapping[str, Any]]:
        """The newest rows, newest first."""
        # The queue first: a row that is stored in between is then seen twice, and never missed.
        queued = self._writer.newest(count)
        seen = {(self._writer.writer_id, str(sequence)) for sequence, _, _, _ in queued}
        rows = [read_row(build) for _, decision_id, build, _ in queued if decision_id != CLOSING]
        stored = (
            _parsed(fields["row"])
            for _, fields in self._entries("XREVRANGE", "+", "-", min(PAGE, count + len(queued)))
            if fields["decision_id"] != CLOSING and (fields["writer"], fields["sequence"]) not in seen
        )
        return [*rows, *islice(stored, max(0, count - len(rows)))]

    def chain(self) -> Iterator[Envelope]:
        """Every stored row in its envelope, in stored order, for decision_log.verify; read in pages."""
        return (_envelope(fields) for _, fields in self._entries("XRANGE", "-", "+"))

    def flush(self) -> None:
        """Return when every row taken so far is stored; StateError when that fails."""
        self._writer.flush()

    def close(self) -> None:
        """Store what is queued, then give the sockets back; idempotent."""
        self._writer.close()
        self._connection.close()

    def _entries(self, command: str, start: str, end: str, page_size: int = PAGE) -> Iterator[Stored]:
        """The stream's entries from `start` to `end`, in pages."""
        while True:
            page: Sequence[Stored] = self._connection.execute(command, ROWS, start, end, "COUNT", page_size)
            yield from page
            if len(page) < page_size:
                return
            start = f"({page[-1][0]}"

    def _store(self, envelopes: Sequence[Envelope]) -> None:
        # The script leaves out what is stored already, so that a commit may be repeated where it broke off.
        for first in range(0, len(envelopes), ROWS_AT_ONCE):
            rows = [item for envelope in envelopes[first : first + ROWS_AT_ONCE] for item in _items(envelope)]
            self._connection.run(self._append_script, (ROWS, BY_ID, WRITERS, BYTES), (*self._kept, *rows))


def _items(envelope: Envelope) -> tuple[str | int, ...]:
    """In the order that the script takes."""
    return (
        envelope.schema_version,
        envelope.writer,
        envelope.sequence,
        envelope.previous,
        envelope.decision_id,
        envelope.row,
        envelope.hash,
    )


def _envelope(fields: Mapping[str, str]) -> Envelope:
    return Envelope(
        schema_version=int(fields["schema_version"]),
        writer=fields["writer"],
        sequence=int(fields["sequence"]),
        previous=fields["previous"],
        decision_id=fields["decision_id"],
        row=fields["row"],
        hash=fields["hash"],
    )


def _parsed(text: str) -> Mapping[str, Any]:
    row: Mapping[str, Any] = json.loads(text)
    return row
