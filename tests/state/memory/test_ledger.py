"""The ledger in memory: bounded whatever happens, and usable after a fork."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from traceback import print_exc

import pytest

from crew_moe.clock import ManualClock
from crew_moe.domain.budget import Reservation
from crew_moe.errors import UnknownReservation
from crew_moe.state.memory.ledger import MAX_REMEMBERED, MemoryLedger
from tests.contracts.ledgers import amounts, held
from tests.state.given import NOW

RUN = ("run:1",)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def ledger(clock: ManualClock) -> MemoryLedger:
    return MemoryLedger(clock=clock)


def reserved(ledger: MemoryLedger, usd: str = "0.001", lease_s: float = 60) -> Reservation:
    return held(ledger.reserve(RUN, usd=usd, lease_s=lease_s))


def in_a_child(work: Callable[[], bool]) -> bool:
    """Whether `work` is true in a forked child."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that forks and threads don't mix is what is tested
        process = os.fork()
    if process == 0:
        try:
            os._exit(0 if work() else 1)
        except BaseException:  # noqa: BLE001 - a child must never return into the parent's tests
            print_exc()
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def test_newest_endings_are_remembered_and_no_more(ledger: MemoryLedger) -> None:
    first, second = reserved(ledger), reserved(ledger)
    ledger.settle(first.id, usd=0)
    ledger.settle(second.id, usd=0)
    for _ in range(MAX_REMEMBERED - 1):
        ledger.release(reserved(ledger).id)

    assert ledger.settle(second.id, usd=1).charged_usd == 0
    with pytest.raises(UnknownReservation):
        ledger.settle(first.id, usd=1)


def test_newest_lapsed_charges_are_kept_and_what_is_held_always_is(ledger: MemoryLedger, clock: ManualClock) -> None:
    kept = reserved(ledger, lease_s=86_400)
    first = reserved(ledger, lease_s=1)
    for _ in range(MAX_REMEMBERED):
        reserved(ledger, lease_s=2)
    clock.advance(2)

    assert len(ledger.open_charges()) == MAX_REMEMBERED + 1
    assert ledger.open_charges()[0].id == kept.id
    with pytest.raises(UnknownReservation):
        ledger.settle(first.id, usd=0)


def test_leases_that_ended_early_leave_nothing_behind(ledger: MemoryLedger) -> None:
    keeping = reserved(ledger, lease_s=86_400)
    for _ in range(2_000):
        ledger.renew(keeping.id, lease_s=86_400)
        ledger.settle(reserved(ledger, lease_s=86_400).id, usd=0)

    assert len(ledger._all._leases) < 100


def test_runs_come_and_go_without_end(ledger: MemoryLedger, clock: ManualClock) -> None:
    for number in range(3_000):
        clock.advance(3_600)
        ledger.reserve((f"run:{number}", f"task:{number}", "user:u"), usd="0.001", lease_s=60)
        ledger.release(ledger.open_charges()[0].id)

    books = ledger._all
    assert len(books._accounts) < 600  # of a week, and those whose turn to be looked at has not come
    assert len(books._buckets) == len(books._fleeting) + 1 == len(books._accounts)


def test_child_goes_on_with_the_money_and_ids_of_its_own(ledger: MemoryLedger) -> None:
    before = reserved(ledger)
    parents = set(ledger._all._keys)  # that it will give out

    def work() -> bool:
        ledger.settle(before.id, usd="0.001")
        return amounts(ledger.status("run:1"))[:2] == ("0.001", "0") and reserved(ledger).id not in parents

    assert in_a_child(work)
    assert amounts(ledger.status("run:1")) == ("0", "0.001", "0", "0")
    assert reserved(ledger).id in parents


def test_fork_waits_for_a_change_under_way_and_grandchildren_work_too(ledger: MemoryLedger) -> None:
    changing, done = threading.Event(), threading.Event()

    def change() -> None:
        with ledger._all:
            changing.set()
            done.wait(0.05)  # the fork is asked for meanwhile

    thread = threading.Thread(target=change)
    thread.start()
    changing.wait(5)

    assert in_a_child(lambda: bool(reserved(ledger)) and in_a_child(lambda: bool(reserved(ledger))))
    done.set()
    thread.join()


def test_clock_that_fails_leaves_the_books_open_to_others(
    ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: ManualClock) -> None:
        raise OSError("no time")

    with monkeypatch.context() as broken, ThreadPoolExecutor(1) as pool:
        broken.setattr(ManualClock, "now", fails)
        with pytest.raises(OSError, match="no time"):
            pool.submit(ledger.statuses).result()

    assert list(ledger.statuses()) == []
