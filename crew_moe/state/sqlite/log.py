"""The decision log in an SQLite file, which may be the state store's own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from crew_moe.state.decision_log import CLOSING, Envelope, RowBuilder, read_row
from crew_moe.state.log_writer import LogWriter
from crew_moe.state.sqlite.database import Database

TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS decisions (
        id INTEGER PRIMARY KEY, schema_version INTEGER NOT NULL, writer TEXT NOT NULL, sequence INTEGER NOT NULL,
        previous TEXT NOT NULL, decision_id TEXT NOT NULL, row TEXT NOT NULL, hash TEXT NOT NULL,
        UNIQUE (writer, sequence))""",
    "CREATE INDEX IF NOT EXISTS decisions_by_id ON decisions (decision_id)",
)
PAGE: Final = 1_000


class SQLiteLog:
    """Implements ports.DecisionLog; many threads and processes may write one file, each process its own chain.

    Reading sees this process's rows at once, those of others when they are committed. Raises StateError when the file
    can't be opened or read; `append` never raises.
    """

    def __init__(self, path: Path | str) -> None:
        self._database = Database(Path(path), TABLES)
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
        query = "SELECT row FROM decisions WHERE decision_id = ? ORDER BY id DESC LIMIT 1"
        with self._database.reading() as connection:
            found = connection.execute(query, (decision_id,)).fetchone()
        return None if found is None else _parsed(found[0])

    def tail(self, count: int) -> Sequence[Mapping[str, Any]]:
        """The newest rows, newest first."""
        # The queue first: a row that is stored in between is then seen twice, and never missed.
        queued = self._writer.newest(count)
        seen = {(self._writer.writer_id, sequence) for sequence, _, _, _ in queued}
        query = "SELECT writer, sequence, row FROM decisions WHERE decision_id <> ? ORDER BY id DESC LIMIT ?"
        with self._database.reading() as connection:
            stored = connection.execute(query, (CLOSING, count + len(queued))).fetchall()
        rows = [read_row(build) for _, decision_id, build, _ in queued if decision_id != CLOSING]
        rows += [_parsed(row) for writer, sequence, row in stored if (writer, sequence) not in seen]
        return rows[:count]

    def chain(self) -> Iterator[Envelope]:
        """Every stored row in its envelope, in stored order, for decision_log.verify; read in pages."""
        query = "SELECT * FROM decisions WHERE id > ? ORDER BY id LIMIT ?"
        last = 0
        while True:
            with self._database.reading() as connection:
                page = connection.execute(query, (last, PAGE)).fetchall()
            for row in page:
                yield _envelope(row[1:])
            if len(page) < PAGE:
                return
            last = page[-1][0]

    def flush(self) -> None:
        """Return when every row taken so far is stored; StateError when that fails."""
        self._writer.flush()

    def close(self) -> None:
        """Store what is queued, then give the file back; idempotent."""
        self._writer.close()
        self._database.close()

    def _store(self, envelopes: Sequence[Envelope]) -> None:
        # A commit whose answer was lost may have stored these rows already: the same row twice is one row.
        statement = "INSERT OR IGNORE INTO decisions VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)"
        with self._database.writing() as connection:
            connection.executemany(statement, [_columns(envelope) for envelope in envelopes])


def _columns(envelope: Envelope) -> tuple[Any, ...]:
    return (
        envelope.schema_version,
        envelope.writer,
        envelope.sequence,
        envelope.previous,
        envelope.decision_id,
        envelope.row,
        envelope.hash,
    )


def _envelope(columns: Sequence[Any]) -> Envelope:
    schema_version, writer, sequence, previous, decision_id, row, digest = columns
    return Envelope(
        schema_version=schema_version,
        writer=writer,
        sequence=sequence,
        previous=previous,
        decision_id=decision_id,
        row=row,
        hash=digest,
    )


def _parsed(text: str) -> Mapping[str, Any]:
    row: Mapping[str, Any] = json.loads(text)
    return row
