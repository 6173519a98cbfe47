"""What the store on disk alone promises: it stays, others see it, and it fails in one clear sentence."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, timedelta, timezone
from pathlib import Path

import pytest

from crew_moe.domain.snapshot import Breaker
from crew_moe.errors import StateError
from crew_moe.state.performance import EXPIRY
from crew_moe.state.sqlite import database
from crew_moe.state.sqlite.store import SQLiteStore
from tests.state.given import NOW, POLICY, SAMPLE, later, pin_to, service_named


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def test_everything_is_there_after_reopening(path: Path) -> None:
    store = SQLiteStore(path, POLICY)
    store.record(SAMPLE, NOW, once="d1/1")
    store.fail("expert:o1", NOW, eject_ms=1_234.567)
    store.pin(pin_to("o1", expires_at=later(microseconds=1)))
    store.register(service_named(weight=0.1))
    written = (store.performance(NOW), store.breakers(), store.pins(NOW), store.services(), store.version())
    store.close()

    again = SQLiteStore(path, POLICY)

    assert (again.performance(NOW), again.breakers(), again.pins(NOW), again.services(), again.version()) == written
    assert not again.record(SAMPLE, NOW, once="d1/1")
    again.close()


def test_another_connection_sees_changes_and_their_version(path: Path) -> None:
    one, other = SQLiteStore(path, POLICY), SQLiteStore(path, POLICY)
    before = other.version()

    for _ in range(5):
        one.fail("expert:o1", NOW)

    assert other.version() == one.version() > before
    assert not other.admit("expert:o1", NOW)
    one.close()
    other.close()


def test_moments_of_other_time_zones_are_the_same_moments(path: Path) -> None:
    store = SQLiteStore(path, POLICY)
    east = NOW.astimezone(timezone(timedelta(hours=9)))
    store.record(SAMPLE, east, once="d1/1")

    assert store.performance(NOW)["gpt-4o", "testing"].updated_at == NOW
    assert store.performance(NOW)["gpt-4o", "testing"].updated_at.tzinfo is UTC
    assert not store.record(SAMPLE, NOW, once="d1/1")
    store.close()


def test_keys_of_the_past_leave_the_file(path: Path) -> None:
    store = SQLiteStore(path, POLICY)
    for number in range(20):
        store.record(SAMPLE, NOW, once=f"d{number}")
    store.record(SAMPLE, NOW + EXPIRY, once="new")
    store.close()

    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT key FROM seen").fetchall() == [("new",)]
    connection.close()


def test_failed_change_leaves_nothing_behind(path: Path) -> None:
    store = SQLiteStore(path, POLICY)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE performance")
    connection.close()

    with pytest.raises(StateError, match="no such table: performance"):
        store.record(SAMPLE, NOW, once="d1/1")
    with pytest.raises(StateError, match="no such table"):  # and not False: the key was not kept
        store.record(SAMPLE, NOW, once="d1/1")
    assert store.fail("expert:o1", NOW) == Breaker(failures=1)
    store.close()


def test_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"expert_id,score\n" * 1_000)

    with pytest.raises(StateError, match=r"state\.db can't be used: file is not a database"):
        SQLiteStore(path, POLICY)


def test_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="unable to open database file"):
        SQLiteStore(tmp_path, POLICY)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"there is no folder .*/nowhere"):
        SQLiteStore(tmp_path / "nowhere" / "state.db", POLICY)


def test_folder_that_takes_no_files_is_refused() -> None:
    with pytest.raises(StateError, match="can't be used"):
        SQLiteStore("/proc/self/state.db", POLICY)


def test_file_that_others_hold_is_refused_after_the_wait(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_S", 0.01)
    SQLiteStore(path, POLICY).close()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    with pytest.raises(StateError, match="database is locked"):
        SQLiteStore(path, POLICY)
    holder.close()


def test_file_from_before_there_were_services_is_taken_on(path: Path) -> None:
    before = SQLiteStore(path, POLICY)
    before.pin(pin_to("o1"))
    before.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE services")

    with closing(SQLiteStore(path, POLICY)) as store:
        assert store.services() == ()
        assert store.register(service_named())
        assert (store.services(), len(store.pins(NOW))) == ((service_named(),), 1)


def test_services_that_cannot_be_read_are_told_of(path: Path) -> None:
    with closing(SQLiteStore(path, POLICY)) as store:
        store.register(service_named())
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE services SET registered = '[{}]'")

        with pytest.raises(StateError, match="services that can't be read"):
            store.services()


def test_layout_of_another_version_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=7")
    connection.close()

    with pytest.raises(StateError, match="has layout 7; this version reads layout 1"):
        SQLiteStore(path, POLICY)


def test_closed_store_says_so(path: Path) -> None:
    store = SQLiteStore(path, POLICY)
    store.close()

    with pytest.raises(StateError, match="is closed"):
        store.version()


def test_file_system_without_a_write_ahead_log_is_refused() -> None:
    connection = sqlite3.connect(":memory:")

    with pytest.raises(sqlite3.OperationalError, match="knows no write-ahead log"):
        database._write_ahead(connection)
    connection.close()
