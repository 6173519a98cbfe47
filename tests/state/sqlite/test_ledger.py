"""The ledger in a file: shared, durable, bounded, and closed to whom it can't serve."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from crew_moe.clock import ManualClock
from crew_moe.domain.budget import Ceiling, Phase, Window
from crew_moe.errors import StateError, UnknownReservation
from crew_moe.state import open_ledger, open_log, open_state
from crew_moe.state.sqlite.ledger import SQLiteLedger
from tests.contracts.ledgers import TREE, all_amounts, amounts, held, short
from tests.state.given import NOW, POLICY, SAMPLE, row_of

DAY_S = 86_400


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "budget.db"


@pytest.fixture
def ledger(path: Path, clock: ManualClock) -> Iterator[SQLiteLedger]:
    opened = SQLiteLedger(path, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def other(path: Path, clock: ManualClock, ledger: SQLiteLedger) -> Iterator[SQLiteLedger]:  # noqa: ARG001 - opened first
    opened = SQLiteLedger(path, clock=clock)
    yield opened
    opened.close()


def count(path: Path, table: str) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - a test's own table
    finally:
        connection.close()


def test_everything_is_there_when_it_is_opened_again(path: Path, ledger: SQLiteLedger, clock: ManualClock) -> None:
    ledger.set_limit("tenant:a", usd="5", window="month")
    daily = {"run:1": Ceiling(limit_nano=10**9, window=Window.DAY)}
    open_one = held(ledger.reserve(TREE, usd="0.25", lease_s=60, ceilings=daily, note="audit"))
    ledger.charge("d1/1", TREE, usd="2")
    before = ledger.statuses(), ledger.open_charges()
    ledger.close()

    again = SQLiteLedger(path, clock=clock)

    assert (again.statuses(), again.open_charges()) == before
    assert again.status("run:1").blocked
    assert short(again.settle(open_one.id, usd="0.125").charged_usd) == "0.125"
    again.close()


def test_two_openers_share_one_budget(ledger: SQLiteLedger, other: SQLiteLedger) -> None:
    ledger.set_limit("tenant:a", usd="1")
    reservation = held(ledger.reserve(("tenant:a",), usd="0.75"))

    assert not other.reserve(("tenant:a",), usd="0.5").ok
    other.settle(reservation.id, usd="0.5")
    assert held(ledger.reserve(("tenant:a",), usd="0.5"))
    assert amounts(other.status("tenant:a")) == ("0.5", "0.5", "0", "0")


def test_openers_at_once_never_pass_the_limit_and_never_miss_room(path: Path, ledger: SQLiteLedger) -> None:
    ledger.set_limit("tenant:a", usd="0.1")
    openers = [SQLiteLedger(path) for _ in range(4)]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: openers[n % 4].reserve(("tenant:a", "run:1"), usd="0.001"), range(160)))

    assert sum(answer.ok for answer in answers) == 100
    assert amounts(ledger.status("tenant:a")) == ("0", "0.1", "0", "0")
    for opened in openers:
        opened.close()


def test_time_never_goes_back_for_who_opens_later(path: Path, ledger: SQLiteLedger, clock: ManualClock) -> None:
    ledger.set_limit("tenant:a", usd="1", window="hour")
    clock.advance(3600)
    ledger.charge("d1/1", ("tenant:a",), usd="1")
    ledger.close()
    clock.advance(-1800)

    again = SQLiteLedger(path, clock=clock)

    assert again.status("tenant:a").opened_at == NOW + timedelta(hours=1)
    assert not again.reserve(("tenant:a",), usd="0.5").ok
    assert held(again.reserve(("run:1",), usd="0.5", lease_s=60)).expires_at == NOW + timedelta(seconds=3660)
    again.close()


def test_one_file_serves_state_log_and_ledger(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/all.db"
    store, log, ledger = open_state(url, POLICY), open_log(url), open_ledger(url)
    ledger.charge("d1/1", TREE, usd="2")
    log.append("d1", row_of(1))
    store.record(SAMPLE, NOW)
    version = store.version()
    ledger.charge("d1/2", TREE, usd="2")

    assert store.version() == version
    assert short(ledger.status("run:1").settled_usd) == "4"
    for opened in (store, log, ledger):
        opened.close()


def test_each_change_is_on_the_disk_before_it_is_told(ledger: SQLiteLedger) -> None:
    with ledger._database.reading() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_ending_is_remembered_for_a_day(path: Path, ledger: SQLiteLedger, clock: ManualClock) -> None:
    reservation = held(ledger.reserve(TREE, usd="0.25"))
    first = ledger.settle(reservation.id, usd="0.125")
    clock.advance(DAY_S - 1)
    ledger.charge("d1/1", TREE, usd="1")

    assert ledger.settle(reservation.id, usd="0.25").charged_usd == first.charged_usd
    clock.advance(1)
    ledger.charge("d1/2", TREE, usd="1")
    with pytest.raises(UnknownReservation):
        ledger.settle(reservation.id, usd="0.25")
    assert count(path, "ledger_records") == 2


def test_lapsed_charge_may_be_put_right_for_a_month(ledger: SQLiteLedger, clock: ManualClock) -> None:
    reservation = held(ledger.reserve(("user:u",), usd="0.25", lease_s=60))
    gone = held(ledger.reserve(("user:u",), usd="0.25", lease_s=60))
    clock.advance(60 + 31 * DAY_S - 1)
    ledger.charge("d1/1", ("user:u",), usd="1")

    assert short(ledger.settle(reservation.id, usd="0.125").charged_usd) == "0.125"
    clock.advance(1)
    ledger.charge("d1/2", ("user:u",), usd="1")
    with pytest.raises(UnknownReservation):
        ledger.settle(gone.id, usd=0)
    assert amounts(ledger.status("user:u")) == ("2.375", "0", "0", "0.25")


def test_file_does_not_grow_without_end(path: Path, ledger: SQLiteLedger, clock: ManualClock) -> None:
    ledger.set_limit("tenant:a", usd="5", window="hour")
    for number in range(400):
        clock.advance(3_600)
        scopes = ("tenant:a", f"run:{number}", f"task:{number}")
        ledger.settle(held(ledger.reserve(scopes, usd="0.25")).id, usd="0.125")

    assert count(path, "ledger_records") <= 26  # of a day
    assert count(path, "ledger_accounts") <= 2 * 8 * 24 + 20  # of a week and a day
    assert count(path, "ledger_buckets") <= count(path, "ledger_accounts") + 10


def test_late_settlement_never_touches_a_bucket_that_is_not_its_own(ledger: SQLiteLedger, clock: ManualClock) -> None:
    ledger.set_limit("user:u", usd="5", window="hour")
    late = held(ledger.reserve(("user:u",), usd="1", lease_s=60))
    for number in range(50):
        clock.advance(3_600)
        ledger.charge(f"d{number}", ("user:u",), usd="1")
    ledger.settle(late.id, usd="3")

    assert amounts(ledger.status("user:u")) == ("1", "0", "0", "0")
    assert held(ledger.reserve(("user:u",), usd="4"))


def test_looking_writes_nothing_until_a_lease_has_ended(ledger: SQLiteLedger, clock: ManualClock) -> None:
    held(ledger.reserve(TREE, usd="0.25", lease_s=60))
    with ledger._database.reading() as connection:
        before = connection.total_changes
    ledger.statuses()
    ledger.open_charges()
    ledger.status("user:unknown")
    with ledger._database.reading() as connection:
        assert connection.total_changes == before
    clock.advance(60)

    assert [charge.phase for charge in ledger.open_charges()] == [Phase.LAPSED]


def test_failure_in_the_middle_of_a_change_leaves_nothing_of_it(
    ledger: SQLiteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.charge("d1/1", TREE, usd="1")
    before = all_amounts(ledger)
    monkeypatch.setattr("crew_moe.state.sqlite.ledger.FEW", "not a number")  # the last statement of a reservation

    with pytest.raises(StateError, match="can't be used"):
        ledger.reserve(TREE, usd="0.25")

    assert all_amounts(ledger) == before
    assert list(ledger.open_charges()) == []


def test_file_that_somebody_else_keeps_locked_has_no_money(
    path: Path, ledger: SQLiteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crew_moe.state.sqlite.database.BUSY_S", 0.0)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    with pytest.raises(StateError, match="locked"):
        ledger.reserve(TREE, usd="0.25")
    assert list(ledger.statuses()) == []
    holder.execute("COMMIT")
    assert held(ledger.reserve(TREE, usd="0.25"))
    holder.close()


def test_closed_ledger_says_so(ledger: SQLiteLedger) -> None:
    ledger.close()

    with pytest.raises(StateError, match="is closed"):
        ledger.reserve(TREE, usd="0.25")
