"""What the store on a server alone promises: hosts share it, it stays, and it fails in one clear sentence."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path

import pytest

from crew_moe.errors import StateError
from crew_moe.state.memory.store import MemoryStore
from crew_moe.state.redis.connection import Connection
from crew_moe.state.redis.store import BREAKERS, COUNTED, PERFORMANCE, VERSION, RedisStore
from tests.redis_server import RedisServer
from tests.state.given import NOW, POLICY, SAMPLE, later, pin_to
from tests.state.redis.children import ROWS
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).parents[3]
PROCESSES = 4
KEY = "expert:o1"


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisStore]:
    opened = RedisStore(redis_url, POLICY)
    yield opened
    opened.close()


@pytest.fixture
def server(redis_url: str) -> Iterator[Connection]:
    opened = Connection(redis_url)
    yield opened
    opened.close()


def test_another_host_sees_changes_and_their_version(store: RedisStore, redis_url: str) -> None:
    other = RedisStore(redis_url, POLICY)
    before = other.version()

    for _ in range(5):
        store.fail(KEY, NOW)

    assert other.version() == store.version() > before
    assert not other.admit(KEY, NOW)
    other.close()


def test_everything_is_there_after_the_server_was_killed(mortal_redis: RedisServer) -> None:
    store = RedisStore(mortal_redis.url, POLICY)
    store.record(SAMPLE, NOW, once="d1/1")
    store.fail(KEY, NOW, eject_ms=1_234.567)
    store.pin(pin_to("o1", expires_at=later(microseconds=1)))
    written = (store.performance(NOW), store.breakers(), store.pins(NOW), store.version())

    mortal_redis.restart()

    assert (store.performance(NOW), store.breakers(), store.pins(NOW), store.version()) == written
    assert not store.record(SAMPLE, NOW, once="d1/1")
    store.close()


def test_numbers_are_those_of_memory_to_the_last_bit(store: RedisStore) -> None:
    memory = MemoryStore(POLICY)
    for number in range(1, 50):
        sample = replace(SAMPLE, latency_ms=number / 7, cost_usd=1e-300 / number, quality=None)
        for each in (memory, store):
            each.record(sample, later(seconds=number / 3))

    assert store.performance(later(hours=1)) == memory.performance(later(hours=1))


def test_moments_of_other_time_zones_are_the_same_moments(store: RedisStore) -> None:
    east = NOW.astimezone(timezone(timedelta(hours=9)))
    store.record(SAMPLE, east, once="d1/1")

    assert store.performance(NOW)["gpt-4o", "testing"].updated_at == NOW
    assert not store.record(SAMPLE, NOW, once="d1/1")


def test_names_may_hold_anything(store: RedisStore) -> None:
    odd = 'a"]\n{b}\ud800'
    store.record(replace(SAMPLE, expert_id=odd), NOW, once=odd)
    store.fail(odd, NOW)
    store.pin(pin_to(odd))

    assert store.performance(NOW).keys() == {(odd, "testing")}
    assert store.breakers().keys() == {odd}
    assert store.pins(NOW)[0].expert_id == odd


def test_keys_of_the_past_leave_the_server(store: RedisStore, server: Connection) -> None:
    store.record(SAMPLE, NOW, once="d1/1")

    left = timedelta(milliseconds=server.execute("PTTL", COUNTED + "d1/1"))

    assert timedelta(days=29) < left <= timedelta(days=30)


def test_server_that_lost_its_data_never_counts_up_to_a_known_version(store: RedisStore, server: Connection) -> None:
    seen = set()
    for _ in range(3):
        for _ in range(5):
            store.fail(KEY, NOW)
            seen.add(store.version())
        server.execute("FLUSHALL")

    assert len(seen) == 15


def test_processes_lose_no_update(store: RedisStore, redis_url: str) -> None:
    command = [sys.executable, "-m", "tests.state.redis.children", redis_url]
    workers = [subprocess.Popen([*command, str(worker)], cwd=ROOT) for worker in range(PROCESSES)]
    for worker in workers:
        with worker:
            assert worker.wait(PATIENCE_S) == 0

    assert store.breakers()["expert:shared"].failures == PROCESSES * ROWS
    assert store.performance(NOW)["gpt-4o", "testing"].samples == (PROCESSES + 1) * ROWS


@pytest.mark.parametrize("garbled", ["", "no json", "[1]", "{}", '["loose",0,0,null,0]'])
def test_value_of_somebody_else_is_one_clear_error(store: RedisStore, server: Connection, garbled: str) -> None:
    server.execute("HSET", BREAKERS, KEY, garbled)
    server.execute("HSET", PERFORMANCE, "no name", garbled)

    for read in (store.breakers, lambda: store.performance(NOW)):
        with pytest.raises(StateError, match="holds a value that can't be read"):
            read()


def test_lost_server_is_one_clear_error_for_every_call(mortal_redis: RedisServer) -> None:
    store = RedisStore(mortal_redis.url, POLICY)
    mortal_redis.kill()

    for call in (store.version, store.breakers, lambda: store.admit(KEY, NOW), lambda: store.record(SAMPLE, NOW)):
        with pytest.raises(StateError, match="can't be used"):
            call()
    store.close()


def test_closed_store_says_so(store: RedisStore) -> None:
    store.close()

    with pytest.raises(StateError, match="is closed"):
        store.version()


def test_version_moves_with_the_change_and_not_before(store: RedisStore, server: Connection) -> None:
    assert store.version() == 0
    store.fail(KEY, NOW)

    assert store.version() == int(server.execute("GET", VERSION))
