"""A Redis that is killed again and again under those who use it: what was acknowledged holds, or the ledger closes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import pytest

from crew_moe.domain.budget import Phase, Refusal, RefusalReason
from crew_moe.domain.money import to_nano, to_usd
from crew_moe.errors import StateError
from crew_moe.state.redis.ledger import RedisLedger
from tests.redis_server import RedisServer
from tests.waiting import until

pytestmark = pytest.mark.accept

THREADS, KILLS, CALLS = 4, 6, 150
SCOPES = ("tenant:a", "run:1")


@dataclass
class Tally:
    """What one thread was told, in nano-USD."""

    settled: int = 0
    unsure: int = 0  # of reservations whose fate it did not hear
    calls: int = 0
    closed: bool = False
    passed: list[str] = field(default_factory=list)


@pytest.fixture(params=["always", "everysec"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    folder = tmp_path / "redis"
    folder.mkdir()
    started = RedisServer(folder, "--appendfsync", request.param)
    started.start()
    yield started
    started.kill()


def spend(ledger: RedisLedger, tally: Tally, rng: Random, done: threading.Event) -> None:
    """Reserve and settle until told to stop; a lost server is asked again."""
    while not done.is_set() and not tally.closed:
        nano, spent = rng.randint(1, 50), 0
        try:
            answer = ledger.reserve(SCOPES, usd=to_usd(nano), lease_s=1)
            if isinstance(answer, Refusal):
                tally.closed = answer.reason is RefusalReason.CLOSED
                ledger.top_up("tenant:a", usd=to_usd(1_000))
                continue
            spent = rng.randint(0, nano)
            ledger.settle(answer.id, usd=to_usd(spent))
            tally.settled += spent
            tally.calls += 1
            status = ledger.status("tenant:a")
            if to_nano(status.settled_usd + status.reserved_usd) > to_nano(status.limit_usd or to_usd(0)):
                tally.passed.append(str(status))
        except StateError:
            tally.unsure += nano


def have_called(tallies: list[Tally], calls: int) -> bool:
    """Whether they all together came so far, or can't go on."""
    return sum(tally.calls for tally in tallies) >= calls or any(tally.closed for tally in tallies)


def test_killed_server_keeps_what_it_acknowledged_or_closes(server: RedisServer) -> None:
    ledger, done = RedisLedger(server.url), threading.Event()
    ledger.set_limit("tenant:a", usd=to_usd(1_000))
    tallies = [Tally() for _ in range(THREADS)]
    threads = [
        threading.Thread(target=spend, args=(ledger, tally, Random(number), done))
        for number, tally in enumerate(tallies)
    ]
    for thread in threads:
        thread.start()
    for kill in range(1, KILLS + 1):
        until(partial(have_called, tallies, kill * CALLS))
        server.restart()
    done.set()
    for thread in threads:
        thread.join()

    assert [tally.passed for tally in tallies] == [[]] * THREADS
    if any(tally.closed for tally in tallies):
        assert not ledger.reserve(SCOPES, usd=to_usd(1)).ok  # lost writes: nobody spends on
        return
    until(lambda: all(charge.phase is Phase.LAPSED for charge in ledger.open_charges()))
    settled, known = to_nano(ledger.status("run:1").settled_usd), sum(tally.settled for tally in tallies)
    assert known <= settled <= known + sum(tally.unsure for tally in tallies)
    assert ledger.status("run:1").reserved_usd == 0
    ledger.close()
