"""What the log in memory alone promises: nothing is built unasked, and it never grows."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from typing import Any

from crew_moe.state.decision_log import Fault, verify
from crew_moe.state.memory.log import MemoryLog
from tests.state.given import row_of


def _fill(log: MemoryLog, first: int, last: int) -> None:
    for number in range(first, last + 1):
        log.append(f"d{number}", row_of(number))


def test_row_is_built_only_for_its_reader() -> None:
    built: list[int] = []

    def build() -> Mapping[str, Any]:
        built.append(1)
        return {}

    log = MemoryLog()
    log.append("d1", build)
    log.append("d2", row_of(2))
    log.get("d2")
    assert built == []

    log.get("d1")
    assert built == [1]


def test_oldest_row_gives_way_to_the_newest() -> None:
    log = MemoryLog(capacity=3)
    _fill(log, 1, 5)

    assert [row["decision_id"] for row in log.tail(10)] == ["d5", "d4", "d3"]
    assert log.get("d2") is None
    assert log.get("d3") is not None


def test_forgetting_an_old_row_keeps_a_newer_one_of_the_same_id() -> None:
    log = MemoryLog(capacity=2)
    for number in (1, 2, 3):
        log.append("same", row_of(number))

    assert log.get("same") == row_of(3)()


def test_rows_forgotten_unread_are_a_gap_in_the_chain() -> None:
    log = MemoryLog(capacity=3)
    _fill(log, 1, 2)
    list(log.chain())
    _fill(log, 3, 8)
    log.close()

    chain = list(log.chain())

    assert [envelope.sequence for envelope in chain] == [7, 8, 9]
    assert [(finding.fault, finding.sequence) for finding in verify(chain)] == [(Fault.GAP, 7)]


def test_closed_log_stays_readable_and_takes_no_more() -> None:
    log = MemoryLog()
    _fill(log, 1, 2)
    log.close()
    _fill(log, 3, 3)

    assert [row["decision_id"] for row in log.tail(10)] == ["d2", "d1"]
    assert verify(log.chain()) == ()


def test_many_rows_do_not_grow_it() -> None:
    log = MemoryLog(capacity=500)
    build = row_of(0)
    ids = [f"d{number}" for number in range(1_000)]
    tracemalloc.start()
    for round_ in range(21):
        for decision_id in ids:
            log.append(decision_id, build)
        if round_ == 0:
            before = tracemalloc.get_traced_memory()[0]
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert after - before < 50_000


def test_lock_that_the_parent_held_does_not_stop_a_forked_child() -> None:
    log = MemoryLog()
    with log._lock, log._chaining:
        log.begin_anew()
        log.append("d1", row_of(1))

        assert log.get("d1") == row_of(1)()
