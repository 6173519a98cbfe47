"""Who chooses among eligible experts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Protocol, runtime_checkable

from crew_moe.domain.decision import Candidate, Pick
from crew_moe.domain.features import Features
from crew_moe.domain.insight import Insight
from crew_moe.domain.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyContext:
    """What a strategy may look at beside the candidates."""

    features: Features
    policy: Policy
    tier: str | None = None
    tenant: str | None = None
    session_key: str | None = None
    load: Mapping[str, float] = field(default_factory=dict)
    now: datetime
    insight: Insight | None = None


@runtime_checkable
class Strategy(Protocol):
    """Ranks eligible experts and picks one; pure but for `rng`, which is passed in."""

    def select(self, context: StrategyContext, candidates: Sequence[Candidate], rng: Random) -> Pick: ...
