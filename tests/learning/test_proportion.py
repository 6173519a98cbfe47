"""Shares with their intervals."""

from __future__ import annotations

import pytest

from crew_moe.learning.proportion import Proportion


def test_share_of_nothing_is_none() -> None:
    found = Proportion(count=0, total=0)

    assert (found.share, found.interval) == (None, None)
    assert found.as_dict() == {"count": 0, "total": 0, "share": None, "interval": None}


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (30, 600, 0.0352, 0.0705)],
)
def test_interval_is_the_known_one(count: int, total: int, low: float, high: float) -> None:
    assert Proportion(count=count, total=total).interval == pytest.approx((low, high), abs=1e-4)
