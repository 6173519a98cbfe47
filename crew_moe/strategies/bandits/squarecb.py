"""`squarecb`: the less an expert is behind, the more often it is tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

import numpy as np

from crew_moe.domain.decision import Candidate, Pick
from crew_moe.ports import StrategyContext
from crew_moe.strategies.bandits.slate import Slate, drawn


@dataclass(frozen=True, slots=True)
class SquareCB:
    """Take each expert in inverse proportion to how far its mean is behind the best one's.

    Of n experts one that is behind by g has the chance 1 / (n + gamma x g), and the best has the rest. It needs means
    alone, no widths, and no chance is ever 0: good to learn from, and to evaluate others on.

    `learning.bandit.gamma`: how sharply it prefers; 0 is uniform.

        >>> from crew_moe.learning.offers import knowing, offer
        >>> known = knowing(mean={"a": 0.8, "b": 0.72}, gamma=100)
        >>> [round(chance, 3) for chance in SquareCB().chances(known, [offer("a"), offer("b")], Random(1))]
        [0.9, 0.1]

    Foster, Rakhlin: Beyond UCB: optimal and efficient contextual bandits with regression oracles (ICML 2020), after
    Abe, Long: Associative reinforcement learning using linear probabilistic concepts (ICML 1999).
    """

    greedy: ClassVar[bool] = False

    def chances(self, context: StrategyContext, candidates: Sequence[Candidate], rng: Random) -> list[float]:  # noqa: ARG002 - as asked
        slate = Slate.of(context, candidates)
        learning = context.policy.learning
        best = int(slate.mean.argmax())
        behind = slate.mean[best] - slate.mean
        inverse = 1.0 / (len(behind) + learning.bandit.gamma * behind)
        inverse[best] = 0.0
        inverse[best] = 1.0 - float(np.sum(inverse))
        return slate.chances(inverse.tolist(), candidates, learning.baseline)

    def select(self, context: StrategyContext, candidates: Sequence[Candidate], rng: Random) -> Pick:
        return drawn(self.chances(context, candidates, rng), candidates, rng)
