"""Threads for what blocks: as many as there is work at once, and none afterwards."""

from __future__ import annotations

import threading
from concurrent.futures import wait

import pytest

from crew_moe.local_gate.engine.workers import Workers


def test_free_thread_is_used_again() -> None:
    workers = Workers("test-workers")
    names = []
    for _ in range(5):
        names.append(workers.result(lambda: threading.current_thread().name).result(30.0))
        workers.result(lambda: None).result(30.0)
    workers.close(within_s=30.0)

    assert len(set(names)) <= 2  # a thread is free only a moment after it gave its result


def test_calls_at_the_same_time_have_a_thread_each() -> None:
    workers = Workers("test-workers")
    barrier = threading.Barrier(3, timeout=30.0)
    futures = [workers.result(barrier.wait) for _ in range(3)]

    assert not wait(futures, 30.0).not_done
    assert workers.close(within_s=30.0)


def test_calls_beyond_the_most_wait_for_a_thread() -> None:
    workers = Workers("test-workers", most=2)
    names = [workers.result(lambda: threading.current_thread().name) for _ in range(20)]
    again = [workers.result(lambda: threading.current_thread().name) for _ in range(20)]

    assert len({future.result(30.0) for future in (*names, *again)}) <= 2
    assert workers.close(within_s=30.0)


def test_what_a_call_raises_is_raised_to_whoever_asked() -> None:
    workers = Workers("test-workers")
    future = workers.result(lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        future.result(30.0)
    assert workers.result(lambda: "still there").result(30.0) == "still there"
    workers.close(within_s=30.0)


def test_close_waits_no_longer_than_it_is_told_and_takes_nothing_more() -> None:
    workers = Workers("test-workers")
    go = threading.Event()
    hanging = workers.result(go.wait)

    assert not workers.close(within_s=0.01)
    assert workers.result(lambda: None).cancelled()
    go.set()
    assert hanging.result(30.0)
    assert workers.close(within_s=30.0)
