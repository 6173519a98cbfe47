"""What an experiment has seen of one decision, and the figures that it counts for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import fsum
from typing import Any, Final, Self

from crew_moe.domain.outcome import ErrorClass
from crew_moe.learning.hearing import Hearing
from crew_moe.learning.rewards import Facts, Rewards, facts_in

Row = Mapping[str, Any]

VIOLATIONS: Final = frozenset({ErrorClass.DENIED.value, ErrorClass.REFUSED.value})
"""Errors that say that the chosen expert was not to be asked this: the gate denied it, or a safety system refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Cost (US$) and latency (ms) are those of all attempts together; None was never told."""

    heard: Hearing = field(default_factory=Hearing)
    cost_usd: float | None = None
    latency_ms: float | None = None
    violated: bool = False

    def served(self, row: Row, task_type: str) -> Self:
        """After one more attempt or outcome."""
        cost, latency = row.get("cost_usd"), row.get("latency_ms")
        facts = facts_in(row, task_type=task_type)
        if self.heard.own.success and not facts.success:
            facts = Facts()  # somebody has answered: what others failed at costs time and money, and nothing else
        return replace(
            self,
            heard=replace(self.heard, own=self.heard.own.but(facts)),
            cost_usd=_sum(self.cost_usd, cost),
            latency_ms=_sum(self.latency_ms, latency),
            violated=self.violated or row.get("error") in VIOLATIONS,
        )

    def judged(self, voice: str, facts: Facts, weight: float) -> Self:
        """After a feedback, which counts as much as its voice may."""
        return replace(self, heard=self.heard.judged(voice, facts, weight))

    def figures(self, rewards: Rewards) -> dict[str, float]:
        """What is known of each metric."""
        own, worth = self.heard.own, self.heard.worth(rewards)
        graded = [facts.quality for facts, _ in self.heard.voices.values() if facts.quality is not None]
        quality = fsum(graded) / len(graded) if graded else own.quality
        known = {
            "reward": worth.value if worth.weight > 0.0 else None,
            "success": own.success,
            "quality": quality,
            "cost": self.cost_usd,
            "latency": self.latency_ms,
            "violations": None if own.success is None else self.violated,
        }
        return {name: float(value) for name, value in known.items() if value is not None}

    def as_row(self) -> list[Any]:
        """JSON-ready; what `of_row` reads."""
        return [self.heard.as_row(), self.cost_usd, self.latency_ms, self.violated]

    @classmethod
    def of_row(cls, row: Any) -> Self:
        """Raises ValueError, TypeError or LookupError for a row of another shape."""
        heard, cost, latency, violated = row
        return cls(
            heard=Hearing.of_row(heard),
            cost_usd=None if cost is None else float(cost),
            latency_ms=None if latency is None else float(latency),
            violated=bool(violated),
        )


def _sum(known: float | None, more: Any) -> float | None:
    return known if more is None else float(more) + (known or 0.0)
