"""What the log on disk alone promises: other processes see it, damage shows, and a broken file breaks no caller."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from crew_moe.errors import StateError
from crew_moe.state.decision_log import CLOSING, Fault, checkpoints, verify
from crew_moe.state.sqlite import log as sqlite_log
from crew_moe.state.sqlite.log import SQLiteLog
from tests.state.given import row_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def log(path: Path) -> Iterator[SQLiteLog]:
    opened = SQLiteLog(path)
    yield opened
    opened.close()


def _fill(log: SQLiteLog, *numbers: int) -> None:
    for number in numbers:
        log.append(f"d{number}", row_of(number))
    log.flush()


def _damage(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()


def test_rows_of_other_processes_are_read_when_they_are_stored(log: SQLiteLog, path: Path) -> None:
    other = SQLiteLog(path)
    _fill(other, 1)
    _fill(log, 2)

    assert log.get("d1") == row_of(1)()
    assert [row["decision_id"] for row in other.tail(5)] == ["d2", "d1"]
    assert len({envelope.writer for envelope in log.chain()}) == 2
    other.close()


def test_row_stored_while_the_tail_is_read_is_seen_once(log: SQLiteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    _fill(log, 1)
    monkeypatch.setattr(log._writer, "newest", lambda _: [(1, "d1", row_of(1), 1)])

    assert [row["decision_id"] for row in log.tail(5)] == ["d1"]


def test_closed_log_has_a_whole_chain_and_says_that_it_is_closed(path: Path) -> None:
    log = SQLiteLog(path)
    _fill(log, *range(5))
    log.close()
    again = SQLiteLog(path)

    assert [envelope.decision_id for envelope in again.chain()][-1] == CLOSING
    assert verify(again.chain()) == ()
    assert [row["decision_id"] for row in again.tail(2)] == ["d4", "d3"]
    again.close()
    with pytest.raises(StateError, match="is closed"):
        log.get("d1")


def test_chain_is_read_in_pages(log: SQLiteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_log, "PAGE", 3)
    _fill(log, *range(7))

    assert [envelope.sequence for envelope in log.chain()] == list(range(1, 8))


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("""UPDATE decisions SET row = replace(row, '"d2"', '"d9"') WHERE sequence = 3""", Fault.FORGED),
        ("DELETE FROM decisions WHERE sequence = 3", Fault.UNLINKED),
        ("DELETE FROM decisions WHERE sequence = 5", Fault.REWRITTEN),
    ],
)
def test_damage_to_the_file_shows(log: SQLiteLog, path: Path, statement: str, fault: Fault) -> None:
    _fill(log, *range(5))
    kept = checkpoints(log.chain())

    _damage(path, statement)

    assert fault in {finding.fault for finding in verify(log.chain(), kept)}


def test_commit_that_is_repeated_stores_its_rows_once(log: SQLiteLog) -> None:
    _fill(log, 1, 2)
    stored = list(log.chain())

    log._store(stored)

    assert list(log.chain()) == stored


def test_file_that_breaks_later_breaks_no_append(log: SQLiteLog, path: Path) -> None:
    _damage(path, "DROP TABLE decisions")
    with capture_logs() as logs:
        log.append("d1", row_of(1))
        with pytest.raises(StateError, match="not stored"):
            log.flush()

    assert log.get("d1") == row_of(1)()
    assert "no such table: decisions" in logs[0]["error"]


def test_rows_left_out_are_counted(log: SQLiteLog) -> None:
    with capture_logs():
        log.append("d1", lambda: {"score": float("nan")})
        log.flush()
    log.close()
    log.append("d2", row_of(2))

    assert (log.failed, log.dropped) == (1, 1)


def test_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"no database at all" * 100)

    with pytest.raises(StateError, match="file is not a database"):
        SQLiteLog(path)
