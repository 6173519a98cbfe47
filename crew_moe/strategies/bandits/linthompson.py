"""`lints`: Thompson sampling; each expert as often as it is likely to be the best."""

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
class LinThompson:
    """Take each expert with the probability that it is the best, as far as is known.

    The probability that a single draw from the posteriors chooses an expert has no closed form. So `draws` draws are
    made at once, their winners counted, and the pick drawn from these shares: given the draws, which the seed of the
    decision fixes, the share is the propensity, not an estimate of it. It has a grain of 1 / `draws`, and an expert
    that won none of them has none.

    `learning.bandit.alpha` scales the width (with rewards in [0, 1], noise seldom exceeds 0.5); `draws`: how many.

        >>> from crew_moe.learning.offers import knowing, offer
        >>> known = knowing(mean={"a": 0.8, "b": 0.8}, width={"a": 0.1, "b": 0.1})
        >>> shares = LinThompson().chances(known, [offer("a"), offer("b")], Random(1))
        >>> sum(shares), abs(shares[0] - 0.5) < 0.1
        (1.0, True)

    Agrawal, Goyal: Thompson sampling for contextual bandits with linear payoffs (ICML 2013).
    """

    greedy: ClassVar[bool] = False

    def chances(self, context: StrategyContext, candidates: Sequence[Candidate], rng: Random) -> list[float]:
        slate = Slate.of(context, candidates)
        learning = context.policy.learning
        shares = wins(slate, learning.bandit.alpha, learning.bandit.draws, rng)
        return slate.chances(shares, candidates, learning.baseline)

    def select(self, context: StrategyContext, candidates: Sequence[Candidate], rng: Random) -> Pick:
        return drawn(self.chances(context, candidates, rng), candidates, rng)


def wins(slate: Slate, alpha: float, draws: int, rng: Random) -> list[float]:
    """The share of `draws` draws that each competitor wins; a single number of `rng` seeds them all.

    They come in pairs on opposite sides of the mean: half of the work, and shares that vary less.
    """
    count = len(slate.places)
    if count == 1:
        return [1.0]
    normal = np.random.Generator(np.random.PCG64(rng.getrandbits(64)))
    one_side = normal.standard_normal(((draws + 1) // 2, count), dtype=np.float32)  # (pairs, competitors)
    one_side *= (alpha * slate.width).astype(np.float32)
    mean = slate.mean.astype(np.float32)
    winners = np.concatenate([(mean + one_side).argmax(axis=1), (mean - one_side).argmax(axis=1)])[:draws]
    shares: list[float] = (np.bincount(winners, minlength=count) / draws).tolist()
    return shares
