"""The seven factors of seed 001, as points that add up to at most 100.

Six do not depend on the size of a request and are summed into the base of a lane; the seventh, cost, is the reference
price's share of reference plus price: W x R / (R + C), where R is what the tokens would cost at the reference price.
It is W at a price of zero, W / 2 at the reference, and falls without ever dividing by nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from crew_moe.domain.policy import Policy, Weights
from crew_moe.domain.snapshot import Snapshot
from crew_moe.routing.columns import Columns, Floats
from crew_moe.routing.needs import Needs

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


def base_points(columns: Columns, needs: Needs, policy: Policy, snapshot: Snapshot) -> Base:
    """Points of every expert for a set of needs."""
    weights = scaled(policy.weights)
    task = policy.tasks[needs.task_type]
    preferred = task.budget if needs.tight_budget else task.preferred
    shares = snapshot.provider_share
    return Base(
        quality=columns.quality * weights.quality,
        history=_history(columns, needs, policy, snapshot) * weights.history,
        learning=_learning(columns, needs, policy, snapshot) * weights.learning,
        preference=_preference(columns.ids, preferred) * weights.preference,
        diversity=np.array([1.0 - shares.get(name, 0.0) for name in columns.providers]) * weights.diversity,
        provider=_membership(columns.providers, needs.preferred_providers) * weights.provider,
    )


def _history(columns: Columns, needs: Needs, policy: Policy, snapshot: Snapshot) -> Floats:
    """Success rate, drawn towards the assumed reliability while observations are few."""
    weight = policy.thresholds.history_samples
    rates = columns.reliability.copy()
    for index, expert_id in enumerate(columns.ids):
        record = snapshot.performance.get((expert_id, needs.task_type))
        if record is not None and record.success_rate is not None:
            rates[index] = (weight * rates[index] + record.samples * record.success_rate) / (weight + record.samples)
    return rates


def _learning(columns: Columns, needs: Needs, policy: Policy, snapshot: Snapshot) -> Floats:
    """The weight that feedback gave, or the prior."""
    learned = np.full(len(columns.ids), policy.thresholds.learning_prior)
    for index, expert_id in enumerate(columns.ids):
        record = snapshot.performance.get((expert_id, needs.task_type))
        if record is not None and record.learned is not None:
            learned[index] = record.learned
    return learned


def _preference(names: tuple[str, ...], ranked: tuple[str, ...]) -> Floats:
    """1 for the first of the list, a quarter less for each that follows."""
    shares = {name: max(0.0, 1.0 - PREFERENCE_STEP * place) for place, name in enumerate(ranked)}
    return np.array([shares.get(name, 0.0) for name in names])


def _membership(names: tuple[str, ...], chosen: tuple[str, ...]) -> Floats:
    wanted = frozenset(chosen)
    return np.array([1.0 if name in wanted else 0.0 for name in names])


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
