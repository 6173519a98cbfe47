"""A task's money, held and spent by calls side by side."""

from __future__ import annotations

from threading import Thread

from hypothesis import given
from hypothesis import strategies as st

from crew_moe.crew.purse import Purse

LIMIT = 1000


@given(st.lists(st.tuples(st.integers(0, 600), st.integers(0, 100)), max_size=30))
def test_what_is_spent_never_passes_the_limit(calls: list[tuple[int, int]]) -> None:
    purse = Purse()
    running = []
    for worst, share in calls:
        held = purse.hold(worst, limit=LIMIT)
        assert held <= worst
        running.append((held, held * share // 100))
        if len(running) > 3:
            held, cost = running.pop(0)
            purse.settle(held=held, cost=cost)
        assert purse.spent + sum(held for held, _ in running) <= LIMIT
    for held, cost in running:
        purse.settle(held=held, cost=cost)
    assert purse.left(LIMIT) == LIMIT - purse.spent


def test_threads_can_not_promise_the_same_money() -> None:
    purse = Purse()
    granted: list[int] = []
    threads = [Thread(target=lambda: granted.append(purse.hold(30, limit=LIMIT))) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == LIMIT


def test_call_that_cost_more_leaves_nothing() -> None:
    purse = Purse()
    purse.settle(held=purse.hold(10, limit=LIMIT), cost=LIMIT + 5)
    assert purse.left(LIMIT) == 0
