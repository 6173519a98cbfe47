"""What the store learns shows in decisions soon, and looking for it stays cheap."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta

from crew_moe.boards import LONGEST_S, REFRESH_S, Boards, shares
from crew_moe.clock import ManualClock
from crew_moe.domain.snapshot import Performance
from crew_moe.state.memory.store import MemoryStore
from tests.router.given import decided, report, router
from tests.routing.given import NOW, POLICY, board, record, rules


class CountingStore(MemoryStore):
    """A store that counts snapshots, each of which takes some time on a clock moved by hand."""

    def __init__(self, clock: ManualClock, costs_s: float) -> None:
        super().__init__(POLICY.breaker)
        self.clock, self.costs_s, self.taken = clock, costs_s, 0

    def performance(self, now: datetime) -> Mapping[tuple[str, str], Performance]:
        self.taken += 1
        self.clock.advance(self.costs_s)
        return super().performance(now)


def test_an_open_breaker_changes_decisions_within_fifty_milliseconds() -> None:
    clock = ManualClock(NOW)
    on = router(clock)
    first = decided(on).expert_id
    report(on, first, success=False, times=5)

    clock.advance(0.05)

    found = decided(on)
    assert found.expert_id != first
    assert rules(found)[first] == "circuit_open"


def test_an_ejection_that_ends_by_time_alone_shows() -> None:
    clock = ManualClock(NOW)
    on = router(clock)
    first = decided(on).expert_id
    report(on, first, success=False, times=5)
    clock.advance(0.05)
    assert decided(on).expert_id != first

    clock.advance(POLICY.breaker.ejection_ms / 1000)

    assert first not in rules(decided(on))


def test_nothing_new_takes_no_snapshot() -> None:
    clock = ManualClock(NOW)
    store = CountingStore(clock, costs_s=0.0)
    boards = Boards(board(), store, clock)

    for _ in range(100):
        clock.advance(0.5)
        boards.current()

    assert store.taken == 1


def test_changes_are_looked_for_at_most_every_few_milliseconds() -> None:
    clock = ManualClock(NOW)
    store = CountingStore(clock, costs_s=0.0)
    boards = Boards(board(), store, clock)
    before = store.taken

    for _ in range(100):
        store.fail("expert:gpt-4o", NOW)
        clock.advance(REFRESH_S / 10)
        boards.current()

    assert store.taken - before <= 10


def test_a_snapshot_that_takes_long_is_taken_rarely() -> None:
    clock = ManualClock(NOW)
    store = CountingStore(clock, costs_s=0.1)
    boards = Boards(board(), store, clock)
    began, before = clock.monotonic(), store.taken

    while clock.monotonic() < began + 60.0:
        store.fail("expert:gpt-4o", NOW)
        clock.advance(0.05)
        boards.current()

    assert (store.taken - before) * store.costs_s <= 0.03 * 60.0


def test_one_snapshot_that_waited_for_a_lock_does_not_make_the_next_one_late() -> None:
    clock = ManualClock(NOW)
    store = CountingStore(clock, costs_s=0.001)
    boards = Boards(board(), store, clock)
    for costs_s in (0.001, 5.0, 0.001):
        store.costs_s = costs_s
        store.fail("expert:gpt-4o", NOW)
        clock.advance(0.06)
        boards.current()
    clock.advance(0.06)

    assert boards.current().snapshot.breakers["expert:gpt-4o"].failures == 3


def test_a_store_that_is_always_slow_is_still_looked_at() -> None:
    clock = ManualClock(NOW)
    store = CountingStore(clock, costs_s=5.0)
    boards = Boards(board(), store, clock)
    boards.refresh(force=True)
    store.fail("expert:gpt-4o", NOW)
    clock.advance(LONGEST_S)

    assert boards.current().snapshot.breakers["expert:gpt-4o"].failures == 1


def test_another_thread_s_look_is_enough() -> None:
    clock = ManualClock(NOW)
    inside, leave = threading.Event(), threading.Event()

    class SlowStore(MemoryStore):
        def version(self) -> int:
            if threading.current_thread() is not threading.main_thread():
                inside.set()
                leave.wait(10)
            return super().version()

    boards = Boards(board(), SlowStore(POLICY.breaker), clock)
    clock.advance(1.0)
    looking = threading.Thread(target=boards.current)
    looking.start()
    assert inside.wait(10)

    assert boards.current().snapshot.version == 0
    leave.set()
    looking.join(10)


def test_experts_without_room_show_at_the_next_look_and_cost_no_snapshot() -> None:
    clock, busy = ManualClock(NOW), {"gpt-4o": NOW + timedelta(seconds=9)}
    store = CountingStore(clock, costs_s=0.0)
    boards = Boards(board(), store, clock, busy=lambda *_: dict(busy))
    assert boards.current().snapshot.busy == busy

    busy.clear()
    clock.advance(REFRESH_S)

    assert boards.current().snapshot.busy == {}
    assert store.taken == 1


def test_shares_are_damped_while_calls_are_few() -> None:
    few = shares({("gpt-4o", "testing"): record(), ("gone", "testing"): record()}, board())

    assert few == {"openai": 100 / 120}


def test_outcomes_move_later_decisions() -> None:
    clock = ManualClock(NOW)
    on = router(clock)
    before = decided(on, pin="gpt-4o")
    report(on, "gpt-4o", success=True, times=30, output_tokens=900, input_tokens=10, cost_usd="0.01")
    clock.advance(0.25)

    after = decided(on, pin="gpt-4o")

    assert after.factors["history"] > before.factors["history"]
    assert after.factors["diversity"] < before.factors["diversity"]
    assert after.cost.expected_usd != before.cost.expected_usd


def test_statistics_wait_where_a_breaker_does_not() -> None:
    clock = ManualClock(NOW)
    on = router(clock)
    before = decided(on, pin="gpt-4o").factors
    report(on, "gpt-4o", success=True, times=30)
    clock.advance(0.05)
    assert decided(on, pin="gpt-4o").factors == before

    report(on, "gpt-4o", success=False)
    clock.advance(0.05)
    assert decided(on, pin="gpt-4o").factors != before


def test_failures_of_one_expert_let_another_lead() -> None:
    clock = ManualClock(NOW)
    on = router(clock)
    first = decided(on).expert_id
    for _ in range(30):  # never five in a row, so that no breaker opens
        report(on, first, success=False, times=4)
        report(on, first, success=True)
        clock.advance(0.05)

    found = decided(on)

    assert found.expert_id != first
    assert first not in rules(found)
