"""`score`: the highest ranking, and the first of equals."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from crew_moe.domain.request import RoutingRequest
from crew_moe.ports import StrategyContext
from crew_moe.routing.features import extract
from crew_moe.strategies import HighestScore
from tests.routing.given import NOW, POLICY, board, decided, expert, market

CONTEXT = StrategyContext(features=extract(RoutingRequest(task_type="planning")), policy=POLICY, now=NOW)


@pytest.mark.parametrize("asked", [{}, {"tier": "fast", "max_tier": "premium"}, {"budget_usd": "0.001"}])
def test_it_takes_what_the_engine_reads_off_its_columns(asked: dict[str, Any]) -> None:
    found = decided(**asked)

    assert HighestScore().select(CONTEXT, found.candidates, Random(1)).expert_id == found.expert_id


def test_of_equals_the_first_by_id_wins() -> None:
    found = decided(board(registry=market(expert("b"), expert("a"), expert("c"))))

    assert found.expert_id == "a"
    assert HighestScore().select(CONTEXT, found.candidates, Random(1)).expert_id == "a"
