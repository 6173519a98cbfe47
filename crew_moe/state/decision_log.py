"""The decision log's records: their envelopes, the chain that links them, and what breaks it.

Each writer (one per log and process) numbers its rows from 1 as they are taken, and links every stored row to the one
stored before it: `hash` is BLAKE2b (32 bytes) over the canonical JSON of [schema version, writer, sequence, previous
hash, decision id, row]. A row that was taken but never stored leaves a gap in the numbers while the links still hold; a
row removed, changed or slipped in afterwards breaks a link or a hash. A writer that closes says so in a last row, so
that a killed one shows. Who can rewrite the whole file can rewrite the chain: keep checkpoints elsewhere.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, Final

from crew_moe.domain.digest import digest

SCHEMA_VERSION: Final = 1
GENESIS: Final = "0" * 64
CLOSING: Final = ""  # the decision id of a writer's last row; no decision has it

RowBuilder = Callable[[], Mapping[str, Any]]
Entry = tuple[int, str, RowBuilder, int]  # (sequence, id, builder, decisions): a plain tuple, made once per decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One stored row and its place in its writer's chain. `row` is canonical JSON text, exactly as it was hashed."""

    schema_version: int = SCHEMA_VERSION
    writer: str
    sequence: int
    previous: str
    decision_id: str
    row: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The hash that a writer's chain had at one row; kept elsewhere, it proves that nothing before it was rewritten."""

    writer: str
    sequence: int
    hash: str


class Fault(StrEnum):
    """What may be wrong with a chain."""

    GAP = "gap"  # numbers are missing, the links hold: rows dropped, or older than what is kept
    UNLINKED = "unlinked"  # the row does not follow the one before it: removed, slipped in or moved
    FORGED = "forged"  # the content does not match its hash
    UNCLOSED = "unclosed"  # no closing row: the writer still runs, or was killed and may have lost its last rows
    REWRITTEN = "rewritten"  # the row of a checkpoint is gone or has another hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault, and the row of the writer's chain at which it shows."""

    fault: Fault
    writer: str
    sequence: int
    detail: str


def canonical(row: Mapping[str, Any]) -> str:
    """The one JSON text of a row: sorted keys, no spaces, floats in full.

    Raises TypeError or ValueError for what JSON does not know (NaN among it).
    """
    return json.dumps(row, sort_keys=True, separators=(",", ":"), allow_nan=False)


def read_row(build: RowBuilder) -> Mapping[str, Any]:
    """The row as every log gives it back, stored or not yet: through its JSON text."""
    row: Mapping[str, Any] = json.loads(canonical(build()))
    return row


def seal(writer: str, sequence: int, previous: str, decision_id: str, row: str) -> Envelope:
    """Put a row (canonical JSON) into its envelope."""
    return Envelope(
        writer=writer,
        sequence=sequence,
        previous=previous,
        decision_id=decision_id,
        row=row,
        hash=_digest(SCHEMA_VERSION, writer, sequence, previous, decision_id, row),
    )


def closing_row() -> Mapping[str, Any]:
    """The content of a writer's last row."""
    return {"closed": True}


def checkpoints(chain: Iterable[Envelope]) -> tuple[Checkpoint, ...]:
    """Where each writer's chain stands now."""
    last = {envelope.writer: envelope for envelope in chain}
    return tuple(Checkpoint(writer=e.writer, sequence=e.sequence, hash=e.hash) for e in last.values())


def verify(chain: Iterable[Envelope], known: Iterable[Checkpoint] = ()) -> tuple[Finding, ...]:
    """Every fault of the chains of all writers, in one pass; rows of one writer must come in their stored order."""
    due = {(checkpoint.writer, checkpoint.sequence): checkpoint.hash for checkpoint in known}
    last: dict[str, Envelope] = {}
    findings: list[Finding] = []
    for envelope in chain:
        findings += _faults(envelope, last.get(envelope.writer))
        if due.pop((envelope.writer, envelope.sequence), envelope.hash) != envelope.hash:
            findings.append(_finding(Fault.REWRITTEN, envelope, "its hash is not the checkpoint's"))
        last[envelope.writer] = envelope
    for envelope in last.values():
        if envelope.decision_id != CLOSING:
            findings.append(_finding(Fault.UNCLOSED, envelope, "rows after it may be lost, or still to come"))
    for writer, sequence in due:
        detail = "the row of the checkpoint is gone"
        findings.append(Finding(fault=Fault.REWRITTEN, writer=writer, sequence=sequence, detail=detail))
    return tuple(findings)


def _faults(envelope: Envelope, before: Envelope | None) -> Iterator[Finding]:
    due = 1 if before is None else before.sequence + 1
    if before is None:  # where a chain begins late, the row before it is out of sight and can't be compared
        linked = envelope.sequence > 1 or envelope.previous == GENESIS
    else:
        linked = envelope.previous == before.hash
    if not linked or envelope.sequence < due:
        yield _finding(Fault.UNLINKED, envelope, f"it does not follow row {due - 1}")
    elif envelope.sequence > due:
        yield _finding(Fault.GAP, envelope, f"{envelope.sequence - due} rows before it are missing")
    content = (envelope.writer, envelope.sequence, envelope.previous, envelope.decision_id, envelope.row)
    if _digest(envelope.schema_version, *content) != envelope.hash:
        yield _finding(Fault.FORGED, envelope, "its content does not match its hash")


def _finding(fault: Fault, envelope: Envelope, detail: str) -> Finding:
    return Finding(fault=fault, writer=envelope.writer, sequence=envelope.sequence, detail=detail)


def _digest(schema_version: int, writer: str, sequence: int, previous: str, decision_id: str, row: str) -> str:
    head = json.dumps([schema_version, writer, sequence, previous, decision_id], separators=(",", ":"))
    return digest(f"{head[:-1]},{row}]", size=32).hex()


class Backlog:
    """Rows in the order they were taken, each found by its decision id at once; the owner holds the lock."""

    __slots__ = ("_by_id", "_entries", "decisions")

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._by_id: dict[str, Entry] = {}
        self.decisions = 0

    def __len__(self) -> int:
        return len(self._entries)

    def push(self, entry: Entry) -> None:
        self._entries.append(entry)
        self.decisions += entry[3]
        self._by_id[entry[1]] = entry

    def pop(self) -> None:
        """Forget the oldest row."""
        entry = self._entries.popleft()
        self.decisions -= entry[3]
        if self._by_id.get(entry[1]) is entry:  # not when a later row has the same id
            del self._by_id[entry[1]]

    def find(self, decision_id: str) -> RowBuilder | None:
        entry = self._by_id.get(decision_id)
        return None if entry is None else entry[2]

    def newest(self, count: int) -> list[Entry]:
        """Up to `count` rows, newest first."""
        return list(islice(reversed(self._entries), count))

    def all(self) -> tuple[Entry, ...]:
        """Every row, oldest first."""
        return tuple(self._entries)
