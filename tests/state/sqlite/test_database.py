"""The SQLite file beneath the stores: all or nothing, and a connection of its own after a fork."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from crew_moe.errors import StateError
from crew_moe.state.sqlite.database import Database, change_mark

TABLES = ("CREATE TABLE IF NOT EXISTS things (name TEXT)",)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "things.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    opened = Database(path, TABLES)
    yield opened
    opened.close()


def _names(database: Database) -> list[str]:
    with database.reading() as connection:
        return [name for (name,) in connection.execute("SELECT name FROM things ORDER BY name")]


def _add(database: Database, name: str, *statements: str) -> None:
    with database.writing() as connection:
        connection.execute("INSERT INTO things VALUES (?)", (name,))
        for statement in statements:
            connection.execute(statement)


def _mark(database: Database) -> tuple[int, int]:
    with database.reading() as connection:
        return change_mark(connection)


def test_file_is_in_write_ahead_mode(database: Database) -> None:
    with database.reading() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize(("durable", "level"), [(False, 1), (True, 2)])
def test_what_is_durable_is_on_the_disk_before_it_is_acknowledged(path: Path, durable: bool, level: int) -> None:
    opened = Database(path, TABLES, durable=durable)
    with opened.reading() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (level,)  # 1: NORMAL, 2: FULL
    opened.close()


def test_view_sees_one_moment(database: Database, path: Path) -> None:
    _add(database, "before")
    other = Database(path, TABLES)
    with database.viewing() as connection:
        first = connection.execute("SELECT count(*) FROM things").fetchone()
        _add(other, "meanwhile")
        second = connection.execute("SELECT count(*) FROM things").fetchone()

    assert first == second == (1,)
    assert _names(database) == ["before", "meanwhile"]
    other.close()


def test_who_waits_to_write_asks_often_and_other_statements_are_patient(database: Database, path: Path) -> None:
    """SQLite's own waiting sleeps ten times a second after a while, so that a busy writer is rarely caught between two
    writes; the short time-out that is set while waiting for a turn must not outlive it.
    """
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    asked: list[str] = []

    def hear(statement: str) -> None:
        asked.append(statement)
        if asked.count("BEGIN IMMEDIATE") == 5:
            holder.execute("COMMIT")

    with database.reading() as connection:
        connection.set_trace_callback(hear)
    _add(database, "late")
    with database.reading() as connection:
        connection.set_trace_callback(None)
        patience_ms = connection.execute("PRAGMA busy_timeout").fetchone()

    assert asked.count("BEGIN IMMEDIATE") >= 5
    assert patience_ms == (5_000,)
    assert _names(database) == ["late"]
    holder.close()


def test_error_inside_a_write_undoes_all_of_it(database: Database) -> None:
    with pytest.raises(StateError, match="no such table: other"):
        _add(database, "half", "INSERT INTO other VALUES (1)")

    assert _names(database) == []
    _add(database, "whole")
    assert _names(database) == ["whole"]


def test_statement_that_ends_the_transaction_itself_is_one_clear_error(database: Database) -> None:
    with pytest.raises(StateError, match=r"things\.db can't be used: cannot commit"):
        _add(database, "alone", "COMMIT")

    _add(database, "after")
    assert _names(database) == ["after", "alone"]


def test_mark_changes_after_the_commit_of_another_connection(database: Database, path: Path) -> None:
    other = Database(path, TABLES)
    before = _mark(database)
    assert _mark(database) == before

    _add(other, "new")

    assert _mark(database) != before
    other.close()


def test_child_opens_its_own_connection_and_leaves_the_parents_alone(database: Database) -> None:
    _add(database, "parent")
    with database.reading() as connection:
        parents = connection

    database.begin_anew()
    _add(database, "child")

    with database.reading() as connection:
        assert connection is not parents
    assert parents.execute("SELECT count(*) FROM things").fetchone() == (2,)
    parents.close()


def test_child_of_a_closed_database_leaves_it_closed(database: Database) -> None:
    database.close()
    database.begin_anew()

    with pytest.raises(StateError, match="is closed"):
        _names(database)


def test_two_that_make_one_file_wait_for_each_other(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one process switches a new file to its write-ahead log, SQLite tells others 'locked' without waiting."""
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    waits: list[float] = []

    def give_way(seconds: float) -> None:
        waits.append(seconds)
        holder.execute("COMMIT")

    monkeypatch.setattr("crew_moe.state.sqlite.database.BUSY_S", 0.05)
    monkeypatch.setattr("crew_moe.state.sqlite.database.time.monotonic", lambda: 0.0)
    monkeypatch.setattr("crew_moe.state.sqlite.database.time.sleep", give_way)
    Database(path, TABLES).close()

    assert len(waits) == 1
    holder.close()


def test_file_that_stays_locked_is_refused_after_the_wait(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr("crew_moe.state.sqlite.database.BUSY_S", 0.0)

    with pytest.raises(StateError, match="database is locked"):
        Database(path, TABLES)
    holder.close()
