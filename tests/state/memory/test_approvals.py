"""What the approvals in memory alone promise: bounded growth, and use after a fork."""

from __future__ import annotations

from datetime import timedelta

from crew_moe.state.memory.approvals import MemoryApprovals
from tests.state.given import NOW, later
from tests.state.questions import approval_of


def test_forgotten_ones_make_room() -> None:
    approvals = MemoryApprovals()
    for number in range(100):
        approvals.ask(approval_of(f"a{number}", nano=number, created_at=NOW + timedelta(days=number)))

    assert len(approvals._known) == 31
    assert sum(map(len, approvals._about.values())) == 31


def test_lock_that_the_parent_held_does_not_stop_a_forked_child() -> None:
    approvals = MemoryApprovals()
    asked = approvals.ask(approval_of("a"))

    with approvals._lock:
        approvals.begin_anew()
        assert approvals.get("a", later(seconds=1)) == asked
