"""The seven factors of seed 001, as points that add up to at most 100.

Six do not depend on the size of a request and are summed into the base of a lane; the seventh, cost, is the reference
price's share of reference plus price: W x R / (R + C), where R is what the tokens would cost at the reference price.
It is W at a price of zero, W / 2 at the reference, and falls without ever dividing by nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from crew_moe.domain.policy import Weights
from crew_moe.routing.columns import Columns, Floats
from crew_moe.routing.eligibility import Scene

SCALE: Final = 100.0
PREFERENCE_STEP: Final = 0.25


class Base(NamedTuple):
    """Points of the six factors that do not depend on size, each (experts,)."""

    quality: Floats
    history: Floats
    learning: Floats
    preference: Floats
    diversity: Floats
    provider: Floats

    @property
    def total(self) -> Floats:
        points = self.quality + self.history
        points = points + self.learning
        points = points + self.preference
        points = points + self.diversity
        return points + self.provider


@lru_cache(maxsize=16)
def scaled(weights: Weights) -> Weights:
    """The same proportions with a sum of 100."""
    factor = SCALE / weights.total
    return Weights(
        quality=weights.quality * factor,
        cost=weights.cost * factor,
        history=weights.history * factor,
        learning=weights.learning * factor,
        preference=weights.preference * factor,
        diversity=weights.diversity * factor,
        provider=weights.provider * factor,
    )


class FixedPoints(NamedTuple):
    """Points that needs and policy fix, whatever was learned; each (experts,)."""

    quality: Floats
    preference: Floats
    provider: Floats


def fixed_points(scene: Scene) -> FixedPoints:
    """Points for quality, for being preferred at the task type, and for a provider that was asked for."""
    columns, needs, weights = scene.columns, scene.needs, scaled(scene.policy.weights)
    task = scene.policy.tasks[needs.task_type]
    return FixedPoints(
        quality=columns.quality * weights.quality,
        preference=_preference(columns, task.budget if needs.tight_budget else task.preferred) * weights.preference,
        provider=columns.of_providers(dict.fromkeys(needs.preferred_providers, 1.0)) * weights.provider,
    )


def base_points(scene: Scene, fixed: FixedPoints) -> Base:
    """Points of every expert, size and cost aside."""
    weights = scaled(scene.policy.weights)
    return Base(
        quality=fixed.quality,
        history=scene.experience.success * weights.history,
        learning=scene.experience.learned * weights.learning,
        preference=fixed.preference,
        diversity=(1.0 - scene.provider_share) * weights.diversity,
        provider=fixed.provider,
    )


def _preference(columns: Columns, ranked: tuple[str, ...]) -> Floats:
    """1 for the first of the list, a quarter less for each that follows."""
    shares = np.zeros(len(columns.ids))
    for place, expert_id in enumerate(ranked):
        position = columns.index.get(expert_id)
        if position is not None:
            shares[position] = max(0.0, 1.0 - PREFERENCE_STEP * place)
    return shares


def factor_points(base: Base, index: int, cost_points: float) -> Mapping[str, float]:
    """Points by factor of one expert, in the order of seed 001."""
    return {
        "quality": float(base.quality[index]),
        "cost": cost_points,
        "history": float(base.history[index]),
        "learning": float(base.learning[index]),
        "preference": float(base.preference[index]),
        "diversity": float(base.diversity[index]),
        "provider": float(base.provider[index]),
    }
