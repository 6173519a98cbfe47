"""What the `learning` block of policy.yaml may hold, as pydantic models, and the values that come of it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crew_moe.domain.policy import (
    BanditPolicy,
    BaselineShare,
    Horizon,
    LearningPolicy,
    RewardFactor,
    RewardPolicy,
)
from crew_moe.domain.request import Name, Unit, Usd

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Entry(BaseModel):
    """Strict and frozen, as every configuration model."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RewardEntry(Entry):
    outcome: NotNegative = 1.0
    quality: NotNegative = 1.0
    latency: NotNegative = 0.0
    cost: NotNegative = 0.0


class FactorEntry(Entry):
    """One factor of one's own: a function of a module, or an entry point of the group crew_moe.reward_factors."""

    name: Name
    weight: Positive = 1.0
    python: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")] | None = None
    entry_point: Name | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.python is None) is (self.entry_point is None):
            raise ValueError("a factor has either 'python' or 'entry_point'")
        return self


class BanditEntry(Entry):
    alpha: NotNegative = 0.95
    epsilon: Unit = 0.05
    gamma: Positive = 300.0
    draws: Annotated[int, Field(ge=16, le=4096)] = 256
    ridge: Positive = 1.0
    half_life: Annotated[float, Field(ge=2, allow_inf_nan=False)] | None = None


class HorizonEntry(Entry):
    usd: Usd
    requests: Annotated[int, Field(ge=1)]


class BaselineEntry(Entry):
    expert: Name
    share: Annotated[float, Field(gt=0, le=1)]


class PreferencesEntry(Entry):
    samples: Positive = 20.0


class LearningEntry(Entry):
    """`learning` of policy.yaml."""

    model: Name | None = None
    reward: RewardEntry = RewardEntry()
    latency_scale_ms: Positive = 10_000.0
    cost_scale_usd: Usd = Decimal("0.01")
    factors: list[FactorEntry] = []
    bandit: BanditEntry = BanditEntry()
    horizon: HorizonEntry | None = None
    baseline: BaselineEntry | None = None
    client_cap: Positive = 5.0
    preferences: PreferencesEntry | None = None

    @model_validator(mode="after")
    def _weighs(self) -> Self:
        if self.reward.outcome + self.reward.quality + sum(factor.weight for factor in self.factors) <= 0:
            raise ValueError("nothing is rewarded: of outcome, quality and own factors one needs a weight")
        if self.cost_scale_usd <= 0:
            raise ValueError("cost_scale_usd must be more than 0")
        return self


def learning_policy(entry: LearningEntry, folder: Path) -> LearningPolicy:
    """The values of the block; the model's file is looked for beside policy.yaml."""
    return LearningPolicy(
        model=None if entry.model is None else str(folder / entry.model),
        reward=RewardPolicy(
            **entry.reward.model_dump(),
            latency_scale_ms=entry.latency_scale_ms,
            cost_scale_usd=entry.cost_scale_usd,
            factors=tuple(RewardFactor(**factor.model_dump()) for factor in entry.factors),
        ),
        bandit=BanditPolicy(**entry.bandit.model_dump()),
        horizon=None if entry.horizon is None else Horizon(**entry.horizon.model_dump()),
        baseline=None
        if entry.baseline is None
        else BaselineShare(expert_id=entry.baseline.expert, share=entry.baseline.share),
        client_cap=entry.client_cap,
        preference_samples=None if entry.preferences is None else entry.preferences.samples,
    )
