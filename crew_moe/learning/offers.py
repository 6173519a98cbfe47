"""Requests and experts reduced to what a bandit looks at: for replaying data, and for asking a strategy by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from crew_moe.catalog import load_policy, load_registry
from crew_moe.domain.decision import Candidate
from crew_moe.domain.features import Features
from crew_moe.domain.insight import Insight
from crew_moe.domain.policy import Policy
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.task import TaskType
from crew_moe.ports import StrategyContext
from crew_moe.routing.features import extract
from crew_moe.strategies import STRATEGIES

BEGINNING: Final = datetime(2000, 1, 1, tzinfo=UTC)  # no bandit looks at the time


def offer(expert_id: str, *, quality: float = 0.5, cost_usd: float = 0.0, ranking: float = 0.0) -> Candidate:
    """A candidate of whom nothing else is known."""
    return Candidate(
        expert_id=expert_id,
        provider="",
        tier="",
        score=0.0,
        ranking=ranking,
        quality=quality,
        cost_usd=cost_usd,
        latency_ms=0.0,
    )


def knowing(
    *,
    mean: Mapping[str, float],
    width: Mapping[str, float] | None = None,
    price: float = 0.0,
    room_usd: float | None = None,
    **learning: Any,
) -> StrategyContext:
    """The context of a request for which these rewards are predicted; `learning` as in policy.yaml's block."""
    insight = Insight(mean=mean, width=width or {}, price=price, room_usd=room_usd)
    return setting(insight, bandit_policy(**learning))


def setting(insight: Insight, policy: Policy) -> StrategyContext:
    return StrategyContext(features=_features(), policy=policy, now=BEGINNING, insight=insight)


def bandit_policy(baseline: Any = None, **bandit: Any) -> Policy:
    """The packaged policy with these values under `learning.bandit`."""
    policy = _packaged()
    learning = policy.learning
    return replace(policy, learning=replace(learning, bandit=replace(learning.bandit, **bandit), baseline=baseline))


@cache
def _packaged() -> Policy:
    return load_policy(None, load_registry(), STRATEGIES)


@cache
def _features() -> Features:
    return extract(RoutingRequest(task_type=TaskType.ANALYSIS))
