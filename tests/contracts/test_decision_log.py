"""What every DecisionLog does, in memory, on disk or on a server."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from crew_moe.ports import DecisionLog
from crew_moe.state import open_log
from crew_moe.state.decision_log import Fault, verify
from crew_moe.state.memory.log import MemoryLog
from crew_moe.state.redis.log import RedisLog
from crew_moe.state.sqlite.log import SQLiteLog
from tests.state.given import row_of

Log = MemoryLog | SQLiteLog | RedisLog


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    here = {"memory": ":memory:", "sqlite": f"sqlite:///{tmp_path}/log.db"}
    return here.get(request.param) or str(request.getfixturevalue("redis_url"))


@pytest.fixture
def log(url: str) -> Iterator[DecisionLog]:
    opened = open_log(url)
    yield opened
    opened.close()


@pytest.fixture
def chained(log: DecisionLog) -> Log:
    assert isinstance(log, Log)
    return log


def _fill(log: DecisionLog, count: int) -> None:
    for number in range(count):
        log.append(f"d{number}", row_of(number))


def test_empty_log_has_nothing(log: DecisionLog) -> None:
    log.flush()

    assert log.get("d0") is None
    assert log.tail(10) == []


def test_row_is_readable_at_once_and_after_it_is_stored(log: DecisionLog) -> None:
    _fill(log, 3)
    at_once = log.get("d1")
    log.flush()

    assert at_once == log.get("d1") == row_of(1)()


def test_tail_is_newest_first_at_once_and_after_it_is_stored(log: DecisionLog) -> None:
    _fill(log, 5)
    at_once = log.tail(3)
    log.flush()

    assert at_once == log.tail(3) == [row_of(number)() for number in (4, 3, 2)]
    assert len(log.tail(100)) == 5
    assert log.tail(0) == []


def test_tail_joins_stored_and_waiting_rows(log: DecisionLog) -> None:
    _fill(log, 2)
    log.flush()
    log.append("d2", row_of(2))

    assert log.tail(10) == [row_of(number)() for number in (2, 1, 0)]


def test_newest_row_of_an_id_wins_and_none_is_lost(log: DecisionLog) -> None:
    log.append("d0", row_of(0))
    log.append("d0", row_of(9))
    at_once = log.get("d0")
    log.flush()

    assert at_once == log.get("d0") == row_of(9)()
    assert log.tail(5) == [row_of(9)(), row_of(0)()]


def test_row_reads_the_same_from_any_log(log: DecisionLog) -> None:
    log.append("d0", lambda: {"floats": (0.1, 1e-300), "who": "Zoë", "none": None})
    at_once = log.get("d0")
    log.flush()

    assert at_once == log.get("d0") == {"floats": [0.1, 1e-300], "who": "Zoë", "none": None}


def test_threads_lose_no_row(log: DecisionLog) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: log.append(f"d{number}", row_of(number)), range(2_000)))
    log.flush()

    assert {row["decision_id"] for row in log.tail(3_000)} == {f"d{number}" for number in range(2_000)}


def test_append_after_close_is_no_error(log: DecisionLog) -> None:
    _fill(log, 1)
    log.close()
    log.append("late", row_of(1))
    log.close()


def test_chain_of_a_running_writer_holds_and_is_open(chained: Log) -> None:
    _fill(chained, 4)
    chained.flush()

    assert [envelope.sequence for envelope in chained.chain()] == [1, 2, 3, 4]
    assert [(finding.fault, finding.sequence) for finding in verify(chained.chain())] == [(Fault.UNCLOSED, 4)]


def test_hashes_do_not_change_between_readings(chained: Log) -> None:
    _fill(chained, 3)
    chained.flush()
    first = list(chained.chain())
    _fill(chained, 2)
    chained.flush()

    assert list(chained.chain())[:3] == first
    assert [finding.fault for finding in verify(chained.chain())] == [Fault.UNCLOSED]


def test_closing_row_is_no_decision(chained: Log) -> None:
    _fill(chained, 2)
    chained.flush()

    assert chained.get("") is None
    assert len(chained.tail(10)) == 2
