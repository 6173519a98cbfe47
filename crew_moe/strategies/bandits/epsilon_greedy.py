"""`epsilon_greedy`: the best known expert, and now and then any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from crew_moe.domain.decision import Candidate, Pick
from crew_moe.ports import StrategyContext
from crew_moe.strategies.bandits.slate import Slate, drawn


@dataclass(frozen=True, slots=True)
class EpsilonGreedy:
    """Take the highest mean; with probability epsilon any candidate, all alike.

    The plainest exploration, and the easiest to evaluate from its log: no propensity is below epsilon / n.

    `learning.bandit.epsilon`: the share of uniform picks.

        >>> from crew_moe.learning.offers import knowing, offer
        >>> known = knowing(mean={"a": 0.8, "b": 0.7}, epsilon=0.05)
        >>> EpsilonGreedy().chances(known, [offer("a"), offer("b")], Random(1))
        [0.975, 0.025]

    Sutton, Barto: Reinforcement learning, an introduction (2nd edition 2018), section 2.2.
    """

    greedy: ClassVar[bool] = False

    def chances(self, context: StrategyContext, candidates: Sequence[Candidate], rng: Random) -> list[float]:  # noqa: ARG002 - as asked
        slate = Slate.of(context, candidates)
        learning = context.policy.learning
        count, epsilon = len(slate.places), learning.bandit.epsilon
        shares = [epsilon / count] * count
        shares[int(slate.mean.argmax())] += 1.0 - epsilon
        return slate.chances(shares, candidates, learning.baseline)

    def select(self, context: StrategyContext, candidates: Sequence[Candidate], rng: Random) -> Pick:
        return drawn(self.chances(context, candidates, rng), candidates, rng)
