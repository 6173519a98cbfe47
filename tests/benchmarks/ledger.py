"""What a reservation and its settlement cost, beside what the store underneath takes for a bare write."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Final

from crew_moe.domain.budget import Reservation
from crew_moe.ports import Ledger
from crew_moe.state import open_ledger
from tests.benchmarks.figure import Figure
from tests.benchmarks.measure import Timing, in_turns, sample_ns, timing
from tests.redis_server import PROGRAM, RedisServer

SCOPES: Final = ("tenant:bench", "project:bench/web", "run:bench/1")
USD: Final = "0.004"
WALL: Final = time.perf_counter_ns  # a store's own work is done elsewhere


def ledgers(*, calls: int, rounds: int) -> Iterator[Figure]:
    """Memory by CPU time, SQLite and Redis by wall time, each in turns with its yardstick."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crew-moe-bench-")))
        contenders: dict[str, Callable[[], Timing]] = {}
        contenders["memory"] = partial(_both, stack.enter_context(_limited(":memory:")), calls, time.thread_time_ns)
        few = max(20, calls // 20)  # a durable write takes a thousand times as long
        contenders["sqlite"] = partial(_both, stack.enter_context(_limited(f"sqlite:///{folder}/ledger.db")), few, WALL)
        contenders["insert"] = partial(_inserts, stack.enter_context(closing(_bare(folder / "bare.db"))), few)
        if shutil.which(PROGRAM):
            server = RedisServer(folder)
            stack.callback(server.stop)
            server.start()
            contenders["redis"] = partial(_both, stack.enter_context(_limited(server.url)), calls // 4, WALL)
            contenders["trips"] = _round_trips(stack, server.url, calls // 4)
        seen = in_turns(contenders, rounds)
    yield from _figures(seen)


def _figures(seen: dict[str, Timing]) -> Iterator[Figure]:
    figure = partial(Figure, group=f"ledger: reserve + settle over {len(SCOPES)} scopes")
    yield figure(name="memory", value=seen["memory"].p50_us, unit="us", at_most=10.0, note="CPU p50")
    yield figure(
        name="SQLite", value=seen["sqlite"].p50_us, unit="us", note="p50; each half is durable when it returns"
    )
    yield figure(name="  one bare durable insert", value=seen["insert"].p50_us, unit="us")
    ratio = seen["sqlite"].p50_us / seen["insert"].p50_us
    yield figure(name="  SQLite / one bare durable insert", value=ratio, unit="x", at_most=5.0)
    if "redis" in seen:
        yield figure(name="Redis", value=seen["redis"].p50_us, unit="us", note="p50; server on loopback, AOF")
        yield figure(name="  two bare round trips", value=seen["trips"].p50_us, unit="us", note="SET and GET")
        ratio = seen["redis"].p50_us / seen["trips"].p50_us
        yield figure(name="  Redis / two bare round trips", value=ratio, unit="x", at_most=1.3)


def _limited(url: str) -> closing[Ledger]:
    ledger = open_ledger(url)
    for scope in SCOPES:
        ledger.set_limit(scope, usd="1000000", window="total")
    return closing(ledger)


def _both(ledger: Ledger, calls: int, clock: Callable[[], int]) -> Timing:
    def once(_: int) -> None:
        found = ledger.reserve(SCOPES, usd=USD)
        assert isinstance(found, Reservation), found
        ledger.settle(found.id, usd="0.0031")

    return timing(sample_ns(once, calls, clock), clock)


def _bare(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, amount INTEGER)")
    return connection


def _inserts(connection: sqlite3.Connection, calls: int) -> Timing:
    insert = partial(connection.execute, "INSERT INTO rows (amount) VALUES (1)")
    return timing(sample_ns(lambda _: insert(), calls, WALL), WALL)


def _round_trips(stack: ExitStack, url: str, calls: int) -> Callable[[], Timing]:
    from redis import Redis

    client = stack.enter_context(closing(Redis.from_url(url)))

    def twice(_: int) -> None:
        client.set("bench", "1")
        client.get("bench")

    return lambda: timing(sample_ns(twice, calls, WALL), WALL)
