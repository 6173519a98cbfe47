"""Boards remember lanes, in bounded number, and lanes remember little."""

from __future__ import annotations

import pytest

from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.snapshot import Snapshot
from crew_moe.domain.task import TaskType
from crew_moe.routing import board as boards
from tests.routing.given import NOW, board, decided, pin, record


def test_the_same_needs_share_a_lane() -> None:
    on = board()

    first, second = decided(on, context_tokens=1), decided(on, context_tokens=2, task="other")

    assert first.basis.lane is second.basis.lane  # type: ignore[attr-defined]  # of routing.ruling.Ruling
    assert (len(on.lanes), len(on.alike)) == (1, 2)


def test_the_memo_of_lanes_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "MAX_LANES", 5)
    on = board()

    for number in range(40):
        decided(on, min_quality=number / 1000)
        assert len(on.lanes) <= 5
        assert len(on.alike) <= 5


def test_a_renewed_board_starts_afresh() -> None:
    on = board()
    before = decided(on).expert_id

    renewed = on.renewed(Snapshot(taken_at=NOW, pins=(pin("command-r"),)))

    assert not renewed.lanes
    assert decided(renewed).expert_id == "command-r" != before


def test_a_lane_keeps_no_more_of_a_snapshot_than_it_reads() -> None:
    learned = {("gpt-4o", task_type): record(success_rate=1.0) for task_type in ("planning", "testing")}
    on = board(performance=learned, pins=(pin("gpt-4o"),))
    decided(on)

    assert list(on.experiences) == ["planning"]
    assert on.experiences[TaskType.PLANNING].trusted[on.columns.index["gpt-4o"]] > 0


def test_a_request_is_not_what_a_lane_is_remembered_by() -> None:
    on = board()
    decided(on, text="Moby Dick")

    assert not any(isinstance(part, RoutingRequest) or "Moby" in str(part) for key in on.alike for part in key)
