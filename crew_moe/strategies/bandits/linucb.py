"""`linucb`: the highest upper confidence bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from crew_moe.domain.decision import Candidate, Pick
from crew_moe.ports import StrategyContext
from crew_moe.strategies.bandits.slate import Slate, drawn, only


@dataclass(frozen=True, slots=True)
class LinUCB:
    """Take the expert that could be best: the highest mean + alpha x width.

    An expert of whom little is known has a wide bound and is tried; each reward narrows it. For the same knowledge the
    choice is certain (propensity 1), so a log of this strategy alone can't tell what another would have earned.

    `learning.bandit.alpha`: how many standard deviations to hope for; 0 is greedy.

        >>> from crew_moe.learning.offers import knowing, offer
        >>> known = knowing(mean={"a": 0.8, "b": 0.7}, width={"a": 0.1, "b": 0.9})
        >>> LinUCB().chances(known, [offer("a"), offer("b")], Random(1))
        [0.0, 1.0]

    Li, Chu, Langford, Schapire: A contextual-bandit approach to personalized news article recommendation (WWW 2010).
    """

    greedy: ClassVar[bool] = False

    def chances(self, context: StrategyContext, candidates: Sequence[Candidate], rng: Random) -> list[float]:  # noqa: ARG002 - as asked
        slate = Slate.of(context, candidates)
        learning = context.policy.learning
        best = int((slate.mean + learning.bandit.alpha * slate.width).argmax())
        return slate.chances(only(best, len(slate.places)), candidates, learning.baseline)

    def select(self, context: StrategyContext, candidates: Sequence[Candidate], rng: Random) -> Pick:
        return drawn(self.chances(context, candidates, rng), candidates, rng)
