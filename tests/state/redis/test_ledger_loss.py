"""Data that Redis lost are not taken for money that nobody spent: the ledger closes until somebody has looked."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from crew_moe.domain.budget import Refusal, RefusalReason
from crew_moe.errors import UnknownReservation
from crew_moe.state.redis.ledger import RedisLedger
from tests.contracts.ledgers import TREE, held, refused
from tests.redis_server import RedisServer


@pytest.fixture
def ledger(redis_url: str) -> Iterator[RedisLedger]:
    opened = RedisLedger(redis_url)
    opened.set_limit("tenant:a", usd=1)
    yield opened
    opened.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Where `mortal_redis` keeps its data."""
    return tmp_path / "redis" / "appendonlydir"


def closed(ledger: RedisLedger) -> bool:
    """Whether money is refused because data were lost."""
    answer = ledger.reserve(TREE, usd="0.000000001")
    return isinstance(answer, Refusal) and answer.reason is RefusalReason.CLOSED


def lose_and_reconcile(ledger: RedisLedger, server: RedisServer) -> None:
    """A loss, noticed and looked at."""
    server.ask("FLUSHALL")
    assert closed(ledger)
    ledger.reconcile()
    assert not closed(ledger)


def restore(server: RedisServer, data: Path, copy: Path) -> None:
    """Start the server over an older copy of its data."""
    server.stop()
    shutil.rmtree(data)
    shutil.copytree(copy, data)
    server.start()


def test_flushed_database_closes_the_ledger(ledger: RedisLedger, redis_server: RedisServer) -> None:
    lost = held(ledger.reserve(TREE, usd="0.5"))
    redis_server.ask("FLUSHALL")

    refusal = refused(ledger.reserve(TREE, usd="0.1"))

    assert (refusal.reason, refusal.scope) == (RefusalReason.CLOSED, "tenant:a")
    assert (refusal.limit, refusal.retry_at) == (None, None)
    assert refusal.available == 0
    assert ledger.status("tenant:a").blocked
    with pytest.raises(UnknownReservation):
        ledger.settle(lost.id, usd="0.5")


def test_experts_without_price_go_on_and_what_was_spent_is_booked(
    ledger: RedisLedger, redis_server: RedisServer
) -> None:
    redis_server.ask("FLUSHALL")
    assert closed(ledger)

    free = held(ledger.reserve(TREE, usd=0))
    ledger.settle(free.id, usd=0)
    ledger.charge("d1/1", TREE, usd="0.25")

    assert str(ledger.status("tenant:a").settled_usd) == "0.25"
    assert closed(ledger)


def test_new_processes_find_it_closed_too(ledger: RedisLedger, redis_server: RedisServer, redis_url: str) -> None:
    redis_server.ask("FLUSHALL")
    assert closed(ledger)

    late = RedisLedger(redis_url)

    assert closed(late)
    late.close()


def test_who_comes_first_after_the_loss_is_closed_when_the_others_come_back(
    ledger: RedisLedger, redis_server: RedisServer, redis_url: str
) -> None:
    redis_server.ask("FLUSHALL")
    first = RedisLedger(redis_url)
    assert held(first.reserve(TREE, usd="0.1"))

    assert closed(ledger)
    assert closed(first)
    first.close()


def test_reconciled_ledger_is_open_for_all_at_once(
    ledger: RedisLedger, redis_server: RedisServer, redis_url: str
) -> None:
    idle, busy = RedisLedger(redis_url), RedisLedger(redis_url)
    held(busy.reserve(TREE, usd="0.1"))
    redis_server.ask("FLUSHALL")
    assert closed(ledger)
    ledger.set_limit("tenant:a", usd=1)

    reconciled = ledger.reconcile()

    assert [status.scope for status in reconciled] == sorted(TREE)
    assert not any(status.blocked for status in reconciled)
    assert not any(closed(one) for one in (idle, busy, ledger, RedisLedger(redis_url)))


def test_one_scope_alone_does_not_reopen_it(ledger: RedisLedger, redis_server: RedisServer) -> None:
    redis_server.ask("FLUSHALL")
    assert closed(ledger)

    ledger.reconcile("tenant:a")

    assert closed(ledger)


def test_loss_after_a_reconciliation_closes_again(ledger: RedisLedger, redis_server: RedisServer) -> None:
    for _ in range(2):
        lose_and_reconcile(ledger, redis_server)


def test_reconciling_a_healthy_ledger_changes_no_epoch(ledger: RedisLedger, redis_url: str) -> None:
    other = RedisLedger(redis_url)

    ledger.reconcile()

    assert not closed(other)
    other.close()


def test_crash_of_redis_loses_nothing_and_closes_nothing(mortal_redis: RedisServer) -> None:
    ledger = RedisLedger(mortal_redis.url)
    kept = [held(ledger.reserve(TREE, usd="0.01", lease_s=3600)).id for _ in range(50)]

    mortal_redis.restart()

    assert not closed(ledger)
    assert [charge.id for charge in ledger.open_charges()][:50] == kept


def test_server_that_comes_back_empty_closes_the_ledger(mortal_redis: RedisServer, data: Path) -> None:
    ledger = RedisLedger(mortal_redis.url)
    held(ledger.reserve(TREE, usd="0.1"))
    mortal_redis.stop()
    shutil.rmtree(data)

    mortal_redis.start()

    assert closed(ledger)


def test_older_copy_closes_the_ledger(mortal_redis: RedisServer, data: Path, tmp_path: Path) -> None:
    ledger = RedisLedger(mortal_redis.url)
    held(ledger.reserve(TREE, usd="0.1"))
    mortal_redis.stop()
    shutil.copytree(data, tmp_path / "copy")
    mortal_redis.start()
    held(ledger.reserve(TREE, usd="0.1"))

    restore(mortal_redis, data, tmp_path / "copy")

    assert closed(ledger)
    ledger.reconcile()
    assert not closed(ledger)


def test_settlement_notices_an_older_copy_too(mortal_redis: RedisServer, data: Path, tmp_path: Path) -> None:
    ledger = RedisLedger(mortal_redis.url)
    kept = held(ledger.reserve(TREE, usd="0.1"))
    mortal_redis.stop()
    shutil.copytree(data, tmp_path / "copy")
    mortal_redis.start()
    held(ledger.reserve(TREE, usd="0.1"))
    restore(mortal_redis, data, tmp_path / "copy")

    ledger.settle(kept.id, usd="0.05")

    assert closed(ledger)


def test_copy_that_holds_all_that_anybody_saw_is_welcome(mortal_redis: RedisServer, data: Path, tmp_path: Path) -> None:
    ledger = RedisLedger(mortal_redis.url)
    held(ledger.reserve(TREE, usd="0.1"))
    mortal_redis.stop()
    shutil.copytree(data, tmp_path / "copy")

    restore(mortal_redis, data, tmp_path / "copy")

    assert not closed(ledger)


@pytest.mark.parametrize("earlier", [0, 1], ids=["founded", "reconciled before"])
def test_copy_from_before_a_reconciliation_closes_the_ledger(
    mortal_redis: RedisServer, data: Path, tmp_path: Path, earlier: int
) -> None:
    ledger = RedisLedger(mortal_redis.url)
    for _ in range(earlier):
        lose_and_reconcile(ledger, mortal_redis)
    mortal_redis.stop()
    shutil.copytree(data, tmp_path / "copy")
    mortal_redis.start()
    lose_and_reconcile(ledger, mortal_redis)

    restore(mortal_redis, data, tmp_path / "copy")

    assert closed(ledger)
