"""The ledger in Redis where it differs from others: sweeps in parts, one slot, time, windows, forks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from redis.crc import key_slot

from crew_moe.clock import ManualClock
from crew_moe.domain.budget import Phase, Window
from crew_moe.domain.money import to_usd
from crew_moe.errors import StateError
from crew_moe.state.redis.connection import Connection
from crew_moe.state.redis.ledger import RedisLedger
from tests.contracts.ledgers import TREE, amounts, held, refused
from tests.redis_server import RedisServer
from tests.state.given import NOW

DAY_S = 86_400.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def ledger(redis_url: str, clock: ManualClock) -> Iterator[RedisLedger]:
    opened = RedisLedger(redis_url, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def inside(redis_url: str) -> Iterator[Connection]:
    """The database beneath the ledger."""
    opened = Connection(redis_url)
    yield opened
    opened.close()


def test_more_leases_than_one_script_ends_are_all_ended_for_whoever_looks(
    ledger: RedisLedger, clock: ManualClock
) -> None:
    for _ in range(5):
        ledger.reserve_group(TREE, usd=["0.01"] * 90, lease_s=1)
    kept = held(ledger.reserve(TREE, usd="0.5", lease_s=60))
    clock.advance(1)

    assert amounts(ledger.status("run:1")) == ("4.5", "0.5", "0", "4.5")
    assert [charge.phase for charge in ledger.open_charges()] == [Phase.LAPSED] * 450 + [Phase.HELD]
    assert ledger.open_charges()[-1].id == kept.id


def test_all_keys_lie_in_one_slot(ledger: RedisLedger, clock: ManualClock, inside: Connection) -> None:
    ledger.reserve(("tenant:{x}", "user:a}b", "run:1"), usd=1, lease_s=1)
    ledger.charge("d1/{1}", TREE, usd=1)
    clock.advance(1)
    ledger.statuses()

    assert len({key_slot(key.encode()) for key in inside.execute("KEYS", "*")}) == 1


def test_what_has_ended_does_not_pile_up(ledger: RedisLedger, clock: ManualClock, inside: Connection) -> None:
    for week in range(12):
        for number in range(30):
            reservation = held(ledger.reserve(("tenant:a", f"run:{week}/{number}"), usd="0.01", lease_s=60))
            if number % 3:
                ledger.settle(reservation.id, usd="0.01")
        clock.advance(8 * DAY_S)

    assert len(inside.execute("KEYS", "*account:*")) == len(ledger.statuses()) < 120
    assert len(ledger.open_charges()) <= 4 * 10
    lives = [inside.execute("PTTL", key) for key in inside.execute("KEYS", "*record:*")]
    assert sum(life < 0 for life in lives) == len(ledger.open_charges())
    assert max(lives) <= DAY_S * 1_000


def test_time_does_not_go_back_for_who_comes_later(ledger: RedisLedger, clock: ManualClock, redis_url: str) -> None:
    ledger.set_limit("tenant:a", usd=1, window="hour")
    clock.advance(3600)
    ledger.charge("d1", ("tenant:a",), usd=1)

    late = RedisLedger(redis_url, clock=ManualClock(NOW))

    assert late.status("tenant:a").opened_at == NOW + timedelta(hours=1)
    assert held(late.reserve(("run:1",), usd=1, lease_s=60)).expires_at == NOW + timedelta(seconds=3660)
    late.close()


def test_time_does_not_go_back_for_who_was_there_before(
    ledger: RedisLedger, clock: ManualClock, redis_url: str
) -> None:
    behind = RedisLedger(redis_url, clock=ManualClock(NOW))
    ledger.set_limit("tenant:a", usd=1, window="hour")
    clock.advance(3600)
    ledger.charge("d1", ("tenant:a",), usd=1)

    assert held(behind.reserve(("run:1",), usd=1, lease_s=60)).expires_at == NOW + timedelta(seconds=3660)
    assert refused(behind.reserve(("tenant:a",), usd="0.5")).retry_at == NOW + timedelta(hours=2)
    behind.close()


def test_late_ending_does_not_touch_the_window_that_took_the_place_of_its_own(
    ledger: RedisLedger, clock: ManualClock
) -> None:
    ledger.set_limit("tenant:a", usd=1, window="hour")
    settled, lapsed = (held(ledger.reserve(("tenant:a",), usd="0.25", lease_s=lease_s)) for lease_s in (7200, 5400))
    clock.advance(3600)
    held(ledger.reserve(("tenant:a",), usd="0.5", lease_s=7200))

    ledger.settle(settled.id, usd="0.75")
    clock.advance(1800)

    assert amounts(ledger.status("tenant:a")) == ("0", "0.5", "0", "0")
    assert ledger.release(lapsed.id).charged_usd == 0
    assert amounts(ledger.status("tenant:a")) == ("0", "0.5", "0", "0")


def test_ending_tells_how_full_the_present_window_is(ledger: RedisLedger, clock: ManualClock) -> None:
    ledger.set_limit("tenant:a", usd=1, window="hour")
    reservation = held(ledger.reserve(("tenant:a",), usd="0.25", lease_s=7200))
    clock.advance(3600)

    (standing,) = ledger.settle(reservation.id, usd="0.25").standings

    assert (standing.used_nano, standing.opened_at) == (0, NOW + timedelta(hours=1))


def test_run_whose_charge_may_be_put_right_is_kept_as_long(ledger: RedisLedger, clock: ManualClock) -> None:
    unreported = held(ledger.reserve(("run:unreported",), usd=1, lease_s=60))
    clock.advance(60)
    ledger.charge("d", ("run:other",), usd=1)
    clock.advance(30 * DAY_S)
    for number in range(20):
        ledger.charge(f"d{number}", (f"run:{number}",), usd=1)

    ledger.settle(unreported.id, usd="0.5")

    assert amounts(ledger.status("run:unreported")) == ("0.5", "0", "0", "0")
    assert "run:other" not in {status.scope for status in ledger.statuses()}


def test_time_is_that_of_redis(redis_url: str, inside: Connection) -> None:
    ledger = RedisLedger(redis_url)

    seconds, _ = inside.execute("TIME")
    expires_at = held(ledger.reserve(TREE, usd=1, lease_s=60)).expires_at

    assert 0 <= expires_at.timestamp() - 60 - int(seconds) < 10
    ledger.close()


def test_forgotten_scripts_are_sent_again(ledger: RedisLedger, inside: Connection) -> None:
    inside.execute("SCRIPT", "FLUSH")

    assert held(ledger.reserve(TREE, usd=1))


def test_memory_that_is_full_fails_closed_and_leaves_nothing_half_done(ledger: RedisLedger, inside: Connection) -> None:
    reservation = held(ledger.reserve(TREE, usd=1))
    before = ledger.statuses(), ledger.open_charges()
    inside.execute("CONFIG", "SET", "maxmemory", 1)
    calls: list[Any] = [
        lambda: ledger.reserve(TREE, usd=1),
        lambda: ledger.settle(reservation.id, usd="0.5"),
        lambda: ledger.charge("d1", TREE, usd=1),
        lambda: ledger.set_limit("run:1", usd=5),
    ]
    for each in calls:
        with pytest.raises(StateError, match="maxmemory"):
            each()
    inside.execute("CONFIG", "SET", "maxmemory", 0)

    assert (ledger.statuses(), ledger.open_charges()) == before


def test_forked_child_and_its_parent_go_on(ledger: RedisLedger) -> None:
    ledger.set_limit("tenant:a", usd="0.02")
    ledger.reserve(TREE, usd="0.01")
    child = os.fork()
    if child == 0:
        os._exit(0 if ledger.reserve(TREE, usd="0.01").ok else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not ledger.reserve(TREE, usd="0.01").ok


def test_lost_server_fails_closed_and_is_used_again(mortal_redis: RedisServer) -> None:
    ledger = RedisLedger(mortal_redis.url)
    ledger.set_limit("tenant:a", usd=1)
    reservation = held(ledger.reserve(TREE, usd="0.75", lease_s=3600))
    mortal_redis.kill()
    for each in (lambda: ledger.reserve(TREE, usd=0), lambda: ledger.settle(reservation.id, usd=0), ledger.statuses):
        with pytest.raises(StateError, match=r"redis://127\.0\.0\.1"):
            each()
    mortal_redis.start()

    assert not ledger.reserve(TREE, usd="0.5").ok
    assert ledger.settle(reservation.id, usd="0.25").charged_usd == to_usd(250_000_000)
    assert held(ledger.reserve(TREE, usd="0.75"))
    ledger.close()


def test_what_other_windows_hold_is_kept_beside_the_present_one(ledger: RedisLedger) -> None:
    ids = []
    for window in (Window.TOTAL, Window.HOUR, Window.DAY, Window.MONTH):
        ledger.set_limit("user:1", usd=1, window=window)
        ids.append(held(ledger.reserve(("user:1",), usd="0.5")).id)
    for cents, reservation_id in enumerate(ids, start=1):
        ledger.settle(reservation_id, usd=f"0.0{cents}")

    held(ledger.reserve(("user:1",), usd="0.9"))

    assert amounts(ledger.status("user:1")) == ("0.04", "0.9", "0", "0")
    assert amounts(ledger.set_limit("user:1", usd=1, window="run")) == ("0.01", "0", "0", "0")
    assert amounts(ledger.set_limit("user:1", usd=1, window="hour")) == ("0.02", "0", "0", "0")
