"""What the meters on disk alone promise: they outlive their process, share a file with the state, and clean up."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from crew_moe.domain.meter import Busy, Demand, Passage, Rate
from crew_moe.errors import StateError
from crew_moe.state import open_meters, open_state
from crew_moe.state.sqlite.meters import SQLiteMeters
from tests.state.given import NOW, POLICY, SAMPLE, later

DEMAND = Demand(key="expert:a", rates=(Rate(name="requests", capacity=2, per_s=60.0),), concurrent=2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def _count(path: Path, table: str) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - our own names
    finally:
        connection.close()


def test_what_was_taken_is_known_to_whoever_opens_the_file_next(path: Path) -> None:
    first = SQLiteMeters(path)
    passages = [first.take([DEMAND], NOW) for _ in range(2)]
    first.close()
    second = SQLiteMeters(path)

    assert isinstance(second.take([DEMAND], NOW), Busy)
    assert isinstance(passages[0], Passage)
    second.give_back(passages[0].id, NOW, used={"requests": 0.0})
    assert second.take([DEMAND], NOW).ok
    second.close()


def test_meters_and_state_share_one_file(path: Path) -> None:
    url = f"sqlite:///{path}"
    store, meters = open_state(url, POLICY), open_meters(url)
    before = store.version()

    meters.take([DEMAND], NOW)

    assert store.version() == before
    store.record(SAMPLE, NOW)
    assert meters.status("expert:a", NOW).in_use == 1
    store.close()
    meters.close()


def test_rows_of_what_is_over_go_in_passing(path: Path) -> None:
    meters = SQLiteMeters(path)
    for number in range(50):
        demand = Demand(key=f"user:{number}", rates=DEMAND.rates)
        meters.take([demand], NOW + timedelta(hours=2 * number), lease_s=60.0)
    meters.close()

    assert (_count(path, "meters"), _count(path, "passages")) == (1, 1)


def test_refused_call_and_look_write_nothing(path: Path) -> None:
    meters, other = SQLiteMeters(path), SQLiteMeters(path)
    for _ in range(2):
        meters.take([DEMAND], NOW)
    before = other._database.path.with_name("state.db-wal").stat().st_mtime_ns

    meters.take([DEMAND], NOW)
    meters.status("expert:b", NOW)
    meters.busy(NOW, kind="expert")

    assert other._database.path.with_name("state.db-wal").stat().st_mtime_ns == before
    meters.close()
    other.close()


def test_closed_file_is_one_clear_error(path: Path) -> None:
    meters = SQLiteMeters(path)
    meters.close()

    with pytest.raises(StateError, match="is closed"):
        meters.take([DEMAND], later(seconds=1))
