"""`lints`: Thompson sampling; each expert as often as it is likely to be the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from crew_moe.domain.decision import Candidate, Pick
from crew_moe.ports import StrategyContext
from crew_moe.strategies.bandits.slate import Slate, drawn

Singles = npt.NDArray[np.float32]

WITHIN: Final = 3.0  # standard deviations that make up LinUCB's hope
SUPPLY: Final = 1 << 19  # normal numbers to draw from, 2 MiB


@dataclass(frozen=True, slots=True)
class LinThompson:
    """Take each expert with the probability that it is the best, as far as is known.

    The probability that a single draw from the posteriors chooses an expert has no closed form. So `draws` draws are
    made at once, their winners counted, and the pick drawn from these shares: given the draws, which the seed of the
    decision fixes, the share is the propensity, not an estimate of it. It has a grain of 1 / `draws`, and an expert
    that won none of them has none.

    `learning.bandit.alpha`: the draws have a third of it, in widths, as their standard deviation, so that nearly all of
    them stay below what LinUCB hopes for; `draws`: how many.

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
        shares = wins(slate, learning.bandit.alpha / WITHIN, learning.bandit.draws, rng)
        return slate.chances(shares, candidates, learning.baseline)

    def select(self, context: StrategyContext, candidates: Sequence[Candidate], rng: Random) -> Pick:
        return drawn(self.chances(context, candidates, rng), candidates, rng)


def wins(slate: Slate, spread: float, draws: int, rng: Random) -> list[float]:
    """The share of `draws` draws that each competitor wins; `spread` is their standard deviation, in widths.

    They come in pairs on opposite sides of the mean: half of the work, and shares that vary less.
    """
    count = len(slate.places)
    if count == 1:
        return [1.0]
    one_side = normals((draws + 1) // 2, count, rng) * (spread * slate.width).astype(np.float32)  # (pairs, competitors)
    mean = slate.mean.astype(np.float32)
    winners = np.concatenate([(mean + one_side).argmax(axis=1), (mean - one_side).argmax(axis=1)])[:draws]
    shares: list[float] = (np.bincount(winners, minlength=count) / draws).tolist()
    return shares


def normals(rows: int, columns: int, rng: Random) -> Singles:
    """Standard normal numbers, (rows, columns), chosen by one number of `rng`: a stretch of a long row that is made
    once, because to make them for each decision would cost more than all the rest of it.
    """
    needed = rows * columns
    if needed > SUPPLY // 2:
        made = np.random.Generator(np.random.PCG64(rng.getrandbits(64)))
        return made.standard_normal((rows, columns), dtype=np.float32)
    start = rng.randrange(SUPPLY - needed)
    return _supply()[start : start + needed].reshape(rows, columns)


@cache
def _supply() -> Singles:
    made = np.random.Generator(np.random.PCG64(0)).standard_normal(SUPPLY, dtype=np.float32)
    made.flags.writeable = False  # every decision reads it
    return made
