"""A bandit over questions of which every expert's answer was graded: how much it earns while it learns.

The rows come once, in a shuffled order. The strategy chooses by what its arms say, is told the quality and the cost of
the expert that it chose and of no other, and the arms learn from that. Regret is counted against the expert that would
have been best for all rows, and against the best one for each.

The cost of an expert is much the same each time, quality is not. So they are learned apart: the first bill tells that
an expert is dear, and the arms learn quality alone. The expected reward is the one less the weighted other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from crew_moe.domain.insight import Insight
from crew_moe.domain.policy import BanditPolicy, Policy
from crew_moe.errors import InvalidInput
from crew_moe.learning.arms import Arms, Outlook
from crew_moe.learning.context import precision
from crew_moe.learning.graded import Graded
from crew_moe.learning.offers import offer, setting
from crew_moe.ports import Strategy

Floats = npt.NDArray[np.float64]

HUNCH: Final = 0.01  # bills' worth of what experts usually cost: the first one counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What one pass earned. Regrets are sums over its rounds; `us_per_round` is the median of choosing and learning."""

    regret_vs_best_fixed: float
    regret_vs_oracle: float
    mean_reward: float
    eval_reward_greedy: float | None
    us_per_round: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Bills:
    """The mean cost of each expert; of one that was never billed, the mean of all bills."""

    def __init__(self, experts: int) -> None:
        self._total = np.zeros(experts)
        self._count = np.zeros(experts)

    def expected(self) -> Floats:
        """What each expert will cost, (experts,)."""
        usual = self._total.sum() / max(1.0, self._count.sum())
        means: Floats = (self._total + HUNCH * usual) / (self._count + HUNCH)
        return means

    def add(self, place: int, cost: float) -> None:
        self._total[place] += cost
        self._count[place] += 1.0


class Apprentice:
    """Arms for quality and bills for cost, and the reward that they expect together."""

    def __init__(self, experts: Sequence[str], bandit: BanditPolicy, cost_weight: float) -> None:
        self._arms = Arms.fresh(experts, precision(bandit.ridge), half_life=bandit.half_life)
        self._place = {expert_id: number for number, expert_id in enumerate(experts)}
        self._bills = Bills(len(experts))
        self._cost_weight = cost_weight

    def insight(self, x: Floats) -> Insight:
        """What a strategy may know of a request with this context."""
        ids, (mean, width) = self._arms.ids, self.outlook(x)
        return Insight(
            mean=dict(zip(ids, mean.tolist(), strict=True)), width=dict(zip(ids, width.tolist(), strict=True))
        )

    def outlook(self, x: Floats) -> Outlook:
        """The expected reward of every expert, in their order."""
        quality = self._arms.outlook(x)
        return Outlook(quality.mean - self._cost_weight * self._bills.expected(), quality.width)

    def learn(self, expert_id: str, x: Floats, quality: float, cost: float) -> None:
        """`cost` in units of the dearest expert's mean cost."""
        self._arms.learn(expert_id, x, quality)
        self._bills.add(self._place[expert_id], cost)


def replay(
    data: Graded,
    strategy: Strategy,
    policy: Policy,
    *,
    cost_weight: float,
    seed: int,
    clock: Callable[[], float],
    evaluation: Graded | None = None,
    step: Callable[[], None] = lambda: None,
) -> Replayed:
    """One shuffled pass of `strategy` over `data`; afterwards the greedy choice on `evaluation`. `clock` gives seconds,
    `step` is called after every round.
    """
    _check(cost_weight)
    unit = data.dearest or 1.0
    costs = data.cost / unit  # (rows, experts)
    rewards = data.quality - cost_weight * costs
    apprentice = Apprentice(data.experts, policy.learning.bandit, cost_weight)
    candidates = [offer(expert_id) for expert_id in data.experts]
    place = {expert_id: number for number, expert_id in enumerate(data.experts)}
    order, rng = np.random.default_rng(seed).permutation(len(rewards)).tolist(), Random(seed)
    earned, seconds = 0.0, []
    for row in order:
        begun = clock()
        x = data.contexts[row]
        chosen = strategy.select(setting(apprentice.insight(x), policy), candidates, rng).expert_id
        arm = place[chosen]
        apprentice.learn(chosen, x, float(data.quality[row, arm]), float(costs[row, arm]))
        seconds.append(clock() - begun)
        earned += float(rewards[row, arm])
        step()
    return Replayed(
        regret_vs_best_fixed=float(rewards.sum(axis=0).max()) - earned,
        regret_vs_oracle=float(rewards.max(axis=1).sum()) - earned,
        mean_reward=earned / len(rewards),
        eval_reward_greedy=None if evaluation is None else _greedy(apprentice, evaluation, cost_weight, unit),
        us_per_round=1e6 * float(np.median(seconds)),
    )


def _greedy(apprentice: Apprentice, data: Graded, cost_weight: float, unit: float) -> float:
    """The mean reward of the best expert as far as is known, without exploring and without learning on."""
    rewards = data.quality - cost_weight * data.cost / unit
    chosen = [int(apprentice.outlook(x).mean.argmax()) for x in data.contexts]
    return float(rewards[np.arange(len(chosen)), chosen].mean())


def _check(cost_weight: float) -> None:
    if not (math.isfinite(cost_weight) and cost_weight >= 0.0):
        raise InvalidInput(f"{cost_weight} is no weight", where="--cost-weight", allowed=("0 or more",))
