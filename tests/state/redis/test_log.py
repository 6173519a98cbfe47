"""What the log on a server alone promises: hosts share it, the newest rows stay, and a lost server breaks no caller."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest
from structlog.testing import capture_logs

from crew_moe.errors import StateError
from crew_moe.state.decision_log import CLOSING, Fault, checkpoints, verify
from crew_moe.state.redis import log as redis_log
from crew_moe.state.redis.connection import Connection
from crew_moe.state.redis.log import BY_ID, BYTES, ROWS, WRITERS, RedisLog
from tests.redis_server import RedisServer
from tests.state.given import row_of
from tests.state.redis import children
from tests.state.redis.test_store import PROCESSES, ROOT
from tests.waiting import PATIENCE_S


@pytest.fixture
def log(redis_url: str) -> Iterator[RedisLog]:
    opened = RedisLog(redis_url)
    yield opened
    opened.close()


@pytest.fixture
def server(redis_url: str) -> Iterator[Connection]:
    opened = Connection(redis_url)
    yield opened
    opened.close()


def _fill(log: RedisLog, *numbers: int) -> None:
    for number in numbers:
        log.append(f"d{number}", row_of(number))
        log.flush()


def test_rows_of_other_hosts_are_read_when_they_are_stored(log: RedisLog, redis_url: str) -> None:
    other = RedisLog(redis_url)
    _fill(other, 1)
    _fill(log, 2)

    assert log.get("d1") == row_of(1)()
    assert [row["decision_id"] for row in other.tail(5)] == ["d2", "d1"]
    assert len({envelope.writer for envelope in log.chain()}) == 2
    other.close()


def test_row_stored_while_the_tail_is_read_is_seen_once(log: RedisLog, monkeypatch: pytest.MonkeyPatch) -> None:
    _fill(log, 1)
    monkeypatch.setattr(log._writer, "newest", lambda _: [(1, "d1", row_of(1), 1)])

    assert [row["decision_id"] for row in log.tail(5)] == ["d1"]


def test_closed_log_has_a_whole_chain_and_says_that_it_is_closed(redis_url: str) -> None:
    log = RedisLog(redis_url)
    _fill(log, *range(5))
    log.close()
    again = RedisLog(redis_url)

    assert [envelope.decision_id for envelope in again.chain()][-1] == CLOSING
    assert verify(again.chain()) == ()
    assert [row["decision_id"] for row in again.tail(2)] == ["d4", "d3"]
    again.close()
    with pytest.raises(StateError, match="is closed"):
        log.get("d1")


def test_chain_and_tail_are_read_in_pages(log: RedisLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_log, "PAGE", 3)
    _fill(log, *range(7))

    assert [envelope.sequence for envelope in log.chain()] == list(range(1, 8))
    assert [row["decision_id"] for row in log.tail(7)] == [f"d{number}" for number in range(6, -1, -1)]


@pytest.mark.parametrize(("gone", "fault"), [(2, Fault.UNLINKED), (4, Fault.REWRITTEN)])
def test_damage_on_the_server_shows(log: RedisLog, server: Connection, gone: int, fault: Fault) -> None:
    _fill(log, *range(5))
    kept = checkpoints(log.chain())
    entries = server.execute("XRANGE", ROWS, "-", "+")

    server.execute("XDEL", ROWS, entries[gone][0])

    assert fault in {finding.fault for finding in verify(log.chain(), kept)}


def test_commit_that_is_repeated_stores_its_rows_once(log: RedisLog) -> None:
    _fill(log, 1, 2, 3)
    stored = list(log.chain())

    log._store(stored[:2])
    log._store(stored)

    assert list(log.chain()) == stored


def test_commit_of_many_rows_is_stored_in_parts(log: RedisLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_log, "ROWS_AT_ONCE", 3)
    for number in range(10):
        log.append(f"d{number}", row_of(number))
    log.flush()

    assert [envelope.sequence for envelope in log.chain()] == list(range(1, 11))


def test_oldest_rows_go_and_nothing_of_them_stays(redis_url: str, server: Connection) -> None:
    log = RedisLog(redis_url, kept_rows=3)
    _fill(log, *range(10))

    assert [row["decision_id"] for row in log.tail(10)] == ["d9", "d8", "d7"]
    assert log.get("d6") is None
    assert server.execute("HLEN", BY_ID) == 3
    assert {finding.fault for finding in verify(log.chain())} == {Fault.GAP, Fault.UNCLOSED}
    log.close()


def test_rows_that_are_large_together_go_but_the_newest_stays(redis_url: str, server: Connection) -> None:
    log = RedisLog(redis_url, kept_bytes=250)
    for number, size in enumerate((100, 100, 100, 1_000)):
        log.append(f"d{number}", partial(dict, text="x" * size))
        log.flush()
        assert len(log.tail(9)) == (1, 2, 2, 1)[number]

    assert log.get("d3") == {"text": "x" * 1_000}
    assert int(server.execute("GET", BYTES)) == len('{"text":""}') + 1_000
    log.close()


def test_later_row_of_an_id_outlives_the_earlier_one(redis_url: str) -> None:
    log = RedisLog(redis_url, kept_rows=2)
    for number in (1, 2, 3):
        log.append("again", row_of(number))
        log.flush()

    assert log.get("again") == row_of(3)()
    log.close()


def test_writers_of_the_past_are_forgotten_with_their_last_row(redis_url: str, server: Connection) -> None:
    for number in range(5):
        log = RedisLog(redis_url, kept_rows=2)
        _fill(log, number)
        log.close()

    assert server.execute("HLEN", WRITERS) == 1


def test_lost_server_breaks_no_append_and_gets_the_rows_when_it_is_back(mortal_redis: RedisServer) -> None:
    log = RedisLog(mortal_redis.url)
    _fill(log, 1)
    mortal_redis.kill()
    with capture_logs() as logs:
        log.append("d2", row_of(2))
        with pytest.raises(StateError, match="not stored"):
            log.flush()
    assert [entry["event"] for entry in logs] == ["decision_log_not_stored"]
    assert log.get("d2") == row_of(2)()
    mortal_redis.start()
    log.flush()
    log.close()

    again = RedisLog(mortal_redis.url)
    assert [row["decision_id"] for row in again.tail(5)] == ["d2", "d1"]
    assert verify(again.chain()) == ()
    again.close()


def test_processes_lose_no_row(log: RedisLog, redis_url: str) -> None:
    command = [sys.executable, "-m", "tests.state.redis.children", redis_url]
    workers = [subprocess.Popen([*command, str(worker)], cwd=ROOT) for worker in range(PROCESSES)]
    for worker in workers:
        with worker:
            assert worker.wait(PATIENCE_S) == 0

    assert verify(log.chain()) == ()
    written = Counter(envelope.writer for envelope in log.chain())
    assert list(written.values()) == [children.ROWS + 1] * PROCESSES  # each with its closing row
