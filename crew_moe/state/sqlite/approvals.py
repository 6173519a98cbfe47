"""The approvals that processes share: one SQLite file, which may be that of the state.

What was answered to the caller survives a killed process and a power cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from sqlite3 import Connection
from typing import Final

from crew_moe.domain.approval import Approval, ApprovalState
from crew_moe.state import approval as approvals
from crew_moe.state.rows import stamp
from crew_moe.state.sqlite.database import Database

TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS approvals (
        id TEXT PRIMARY KEY, subject TEXT NOT NULL, state TEXT NOT NULL, expires_at TEXT NOT NULL,
        record TEXT NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS approvals_subject ON approvals (subject)",
    "CREATE INDEX IF NOT EXISTS approvals_state ON approvals (state)",
    "CREATE INDEX IF NOT EXISTS approvals_expires_at ON approvals (expires_at)",
)


class SQLiteApprovals(approvals.Answering):
    """Implements ports.Approvals for all threads and processes that open the same file.

    Raises StateError when the file can't be opened, read or written.
    """

    def __init__(self, path: Path | str) -> None:
        self._database = Database(Path(path), TABLES, durable=True)

    def ask(self, approval: Approval) -> Approval:
        wanted, now = approvals.asked(approval), approval.created_at
        with self._database.writing() as connection:
            connection.execute("DELETE FROM approvals WHERE expires_at <= ?", (stamp(now - approvals.KEPT),))
            found = approvals.covering(_where(connection, "subject", approvals.subject(wanted)), wanted)
            if found is not None:
                return found
            if _where(connection, "id", wanted.id):
                raise approvals.taken(wanted)
            _put(connection, wanted)
        return wanted

    def pending(self, now: datetime) -> Sequence[Approval]:
        with self._database.reading() as connection:
            found = _where(connection, "state", ApprovalState.PENDING)
        # The time of one may be over; that is noted for good, whatever a clock says later.
        current = [one if approvals.as_of(one, now) is one else self.get(one.id, now) for one in found]
        return approvals.by_age(one for one in current if one is not None)

    def close(self) -> None:
        """Give the file back; idempotent."""
        self._database.close()

    def _change(
        self, approval_id: str, now: datetime, change: Callable[[Approval], Approval]
    ) -> tuple[Approval | None, Approval | None]:
        # A change that changes nothing takes no write lock.
        if not approvals.is_id(approval_id):
            return None, None
        with self._database.reading() as connection:
            before = _stored(connection, approval_id, now)
        if before is None or change(before) is before:
            return before, before
        with self._database.writing() as connection:
            before = _stored(connection, approval_id, now)
            after = None if before is None else change(before)
            if after is not None and after is not before:
                _put(connection, after)
        return before, after


def _stored(connection: Connection, approval_id: str, now: datetime) -> Approval | None:
    found = _where(connection, "id", approval_id)
    return found[0] if found and not approvals.forgotten(found[0], now) else None


def _where(connection: Connection, column: str, value: str) -> list[Approval]:
    query = f"SELECT record FROM approvals WHERE {column} = ?"  # noqa: S608 - a name of this module
    return [approvals.from_text(record) for (record,) in connection.execute(query, (value,))]


def _put(connection: Connection, approval: Approval) -> None:
    row = (
        approval.id,
        approvals.subject(approval),
        approval.state.value,
        stamp(approval.expires_at),
        approvals.to_text(approval),
    )
    connection.execute("INSERT OR REPLACE INTO approvals VALUES (?, ?, ?, ?, ?)", row)
