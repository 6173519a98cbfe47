"""What an answer was worth, from 0 to 1: judgements, and penalties for latency and cost (seed 001).

    judged = weighted mean of what is known of: outcome, quality, one's own factors
    reward = judged + 0.2 if a PR was merged - 0.5 if it was reverted
             - latency weight x min(1, latency / scale) - cost weight x min(1, cost / scale), clamped to [0, 1]

What nobody told is left out and the weights of the rest count in proportion, so a reward can be had from a part of the
facts and put right when more of them come. Pure: factors of one's own are passed in as functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple

from crew_moe.domain.outcome import Feedback
from crew_moe.domain.policy import RewardPolicy

OUTCOMES: Final[Mapping[str, float]] = {"success": 1.0, "partial": 0.5, "failure": 0.0}
MERGED: Final = 0.2
REVERTED: Final = -0.5
WORST_RATING: Final = 1
BEST_RATING: Final = 5
UNJUDGED: Final = 0.5
"""Where a PR's fate is all that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of one answer; None was never told. `success` is the call's own: there was an answer.

    `rating` goes from 1 to 5, `quality` from 0 to 1; latency in ms, cost in US$.
    """

    expert_id: str = ""
    task_type: str = ""
    success: bool | None = None
    outcome: str | None = None
    quality: float | None = None
    rating: int | None = None
    pr_merged: bool | None = None
    pr_reverted: bool | None = None
    latency_ms: float | None = None
    cost_usd: float | None = None

    def but(self, later: Facts) -> Facts:
        """These facts with what `later` ones tell in their place."""
        return Facts(**{**self.as_dict(), **later.as_dict()})

    def as_dict(self) -> dict[str, Any]:
        """What is known alone, JSON-ready."""
        told = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in told if value is not None and value != ""}

    @property
    def judged(self) -> bool:
        """Whether anybody has judged the answer."""
        return self.outcome is not None or self.quality is not None or self.rating is not None


def facts_of(feedback: Feedback, *, expert_id: str, task_type: str) -> Facts:
    """What a feedback tells."""
    return Facts(
        expert_id=expert_id,
        task_type=task_type,
        outcome=feedback.outcome,
        quality=feedback.quality,
        rating=feedback.rating,
        pr_merged=feedback.pr_merged,
        pr_reverted=feedback.pr_reverted,
    )


def facts_in(row: Mapping[str, Any], *, task_type: str) -> Facts:
    """What the log's row of an attempt or an outcome tells; of a call that failed, no more than that it did."""
    success = bool(row["success"])
    cost = row.get("cost_usd")
    return Facts(
        expert_id=row["expert_id"],
        task_type=task_type,
        success=success,
        quality=row.get("quality"),
        latency_ms=row.get("latency_ms") if success else None,
        cost_usd=None if cost is None or not success else float(cost),
    )


class Factor(NamedTuple):
    """A factor of one's own: from the facts to a number in [0, 1], None where it has nothing to say."""

    name: str
    weight: float
    of: Callable[[Facts], float | None]


def _ignored(_name: str, _error: Exception) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Rewards:
    """Turns facts into a reward.

    A factor that raises, or gives what is no number, is told to `failed` and left out.

    >>> rewards = Rewards(RewardPolicy())
    >>> rewards.of(Facts(outcome="partial", rating=5))
    0.75
    >>> rewards.of(Facts(outcome="success", pr_reverted=True))
    0.5
    """

    policy: RewardPolicy
    factors: Sequence[Factor] = ()
    failed: Callable[[str, Exception], None] = _ignored

    def of(self, facts: Facts) -> float | None:
        """The reward, in [0, 1]; None where nothing is known that it could be told from."""
        parts = [(weight, value) for weight, value in self._parts(facts) if weight > 0.0]
        bonus = (MERGED if facts.pr_merged else 0.0) + (REVERTED if facts.pr_reverted else 0.0)
        if not parts and not bonus:
            return None
        total = math.fsum(weight for weight, _ in parts)
        judged = math.fsum(weight * value for weight, value in parts) / total if parts else UNJUDGED
        return _clamped(judged + bonus - self._penalty(facts))

    def _parts(self, facts: Facts) -> Iterator[tuple[float, float]]:
        """Weights and values of what is known. That a call succeeded only says that there is an answer: it counts as
        the outcome as long as nobody has judged it. That it failed counts as one in any case.
        """
        if facts.outcome is not None:
            yield self.policy.outcome, OUTCOMES[facts.outcome]
        elif facts.success is not None and not (facts.success and facts.judged):
            yield self.policy.outcome, float(facts.success)
        graded = [] if facts.quality is None else [_clamped(facts.quality)]
        if facts.rating is not None:
            graded.append((facts.rating - WORST_RATING) / (BEST_RATING - WORST_RATING))
        if graded:
            yield self.policy.quality, math.fsum(graded) / len(graded)
        for factor in self.factors:
            value = self._own(factor, facts)
            if value is not None:
                yield factor.weight, value

    def _own(self, factor: Factor, facts: Facts) -> float | None:
        try:
            found = factor.of(facts)
            value = None if found is None else float(found)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{value} is no number from 0 to 1")
        except Exception as error:  # noqa: BLE001 - somebody else's code: learning goes on without it
            self.failed(factor.name, error)
            return None
        return None if value is None else _clamped(value)

    def _penalty(self, facts: Facts) -> float:
        policy = self.policy
        latency = min(1.0, (facts.latency_ms or 0.0) / policy.latency_scale_ms)
        cost = min(1.0, (facts.cost_usd or 0.0) / float(policy.cost_scale_usd))
        return policy.latency * latency + policy.cost * cost


def _clamped(value: float) -> float:
    return min(1.0, max(0.0, value))
