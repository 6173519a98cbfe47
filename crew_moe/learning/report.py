"""The report of how routing did: what was wasted, what escalated, who got which share, how right predictions were.

Pure: figures from episodes. What the log can't tell is an Untold with its reason, never a zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np

from crew_moe.domain.expert import Tier
from crew_moe.learning.calibration import Calibration, calibration
from crew_moe.learning.drift import LEAST, Drift, Window, drift, windows
from crew_moe.learning.episodes import Episode, Episodes
from crew_moe.learning.proportion import Proportion
from crew_moe.learning.regret import EstimatedRegret, KnownRegret
from crew_moe.learning.untold import Untold, Why

RANK: Final = {tier.value: rank for rank, tier in enumerate(Tier)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Waste:
    """Work on calls that failed. `unsettled_usd` is what those may have cost besides, at most."""

    calls: Proportion
    usd: float
    wasted_usd: float
    unsettled_usd: float

    @property
    def cost_share(self) -> float | None:
        """None where nothing was spent."""
        return self.wasted_usd / self.usd if self.usd else None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "calls": self.calls.as_dict(),
            "usd": self.usd,
            "wasted_usd": self.wasted_usd,
            "cost_share": self.cost_share,
            "unsettled_usd": self.unsettled_usd,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All figures over the decisions from `start` to `end`.

    `escalated` counts the answered or tried decisions whose second expert was of a higher tier than the first,
    `passed_on` those that came to a second expert at all; groups, which ask several on purpose, are left out.
    `infeasible` are decisions that nobody could serve, by the `bindings` that stood in the way. `unfamiliar` are those
    whose text was unlike what the quality model learned from. `regret` is estimated from the log, `known` is what a
    truth about all answers says, None where none was given.
    """

    start: datetime
    end: datetime
    decisions: int
    unread: int
    regret: EstimatedRegret | Untold
    known: KnownRegret | Untold | None
    infeasible: Proportion
    bindings: tuple[tuple[str, int], ...]
    escalated: Proportion
    passed_on: Proportion
    waste: Waste
    shares: tuple[Window, ...]
    drift: Drift | Untold
    models: tuple[str, ...]
    unfamiliar: Proportion
    calibration: Calibration | Untold

    @property
    def ranked(self) -> tuple[tuple[str, int], ...]:
        """Who was chosen how often, the most frequent first."""
        return _by_count(name for window in self.shares for name, count in window.counts for _ in range(count))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "decisions": self.decisions,
            "unread": self.unread,
            "regret": self.regret.as_dict(),
            "known_regret": None if self.known is None else self.known.as_dict(),
            "infeasible": {**self.infeasible.as_dict(), "bindings": dict(self.bindings)},
            "escalated": self.escalated.as_dict(),
            "passed_on": self.passed_on.as_dict(),
            "waste": self.waste.as_dict(),
            "shares": [window.as_dict() for window in self.shares],
            "drift": self.drift.as_dict(),
            "quality_models": list(self.models),
            "unfamiliar": self.unfamiliar.as_dict(),
            "calibration": self.calibration.as_dict(),
        }


def report(
    given: Episodes,
    *,
    tiers: Mapping[str, str],
    spans: int,
    rng: np.random.Generator,
    regret: EstimatedRegret | Untold,
    known: KnownRegret | Untold | None = None,
) -> Report | None:
    """The figures, with shares over so many spans of time; None without a decision.

    `tiers` are those of experts of which a row tells none; `regret` and `known` are told as they are.
    """
    found = given.found
    if not found:
        return None
    chosen = [(episode.at, episode.expert_id) for episode in found if episode.expert_id is not None]
    turns = [_turns(episode, tiers) for episode in found if episode.calls and not episode.grouped]
    modelled = [episode for episode in found if episode.model]
    shares = windows(chosen, spans)
    return Report(
        start=found[0].at,
        end=found[-1].at,
        decisions=len(found),
        unread=given.unread,
        regret=regret,
        known=known,
        infeasible=Proportion(count=len(found) - len(chosen), total=len(found)),
        bindings=_by_count(episode.binding for episode in found if episode.expert_id is None),
        escalated=Proportion(count=sum(map(_rises, turns)), total=len(turns)),
        passed_on=Proportion(count=sum(len(ranks) > 1 for ranks in turns), total=len(turns)),
        waste=_waste(found),
        shares=shares,
        drift=_drift(shares, rng),
        models=tuple(sorted({episode.model for episode in modelled})),
        unfamiliar=Proportion(count=sum(not episode.familiar for episode in modelled), total=len(modelled)),
        calibration=_calibration(found),
    )


def _turns(episode: Episode, tiers: Mapping[str, str]) -> list[int]:
    """The ranks of the tiers of those who were called, each expert once, in their order; -1 for an unknown tier."""
    called = dict.fromkeys(call.expert_id for call in episode.calls)
    known = {**tiers, **episode.tiers}
    return [RANK.get(known.get(expert_id, ""), -1) for expert_id in called]


def _rises(ranks: Sequence[int]) -> bool:
    return len(ranks) > 1 and ranks[1] > ranks[0] >= 0


def _waste(found: Iterable[Episode]) -> Waste:
    calls = [call for episode in found for call in episode.calls]
    failed = [call for call in calls if not call.ok]
    return Waste(
        calls=Proportion(count=len(failed), total=len(calls)),
        usd=sum(call.cost_usd for call in calls),
        wasted_usd=sum(call.cost_usd for call in failed),
        unsettled_usd=sum(call.unsettled_usd for call in failed),
    )


def _drift(shares: Sequence[Window], rng: np.random.Generator) -> Drift | Untold:
    if len(shares) > 1 and (found := drift(shares[0], shares[-1], rng)) is not None:
        return found
    return Untold(why=Why.TOO_FEW, message=f"the first or the last span of time has fewer than {LEAST} decisions")


def _calibration(found: Sequence[Episode]) -> Calibration | Untold:
    predicted = [
        (episode.predicted[served], episode.quality)
        for episode in found
        if (served := episode.served_by) is not None and served in episode.predicted
    ]
    if not predicted:
        return Untold(why=Why.NOT_PREDICTED, message="no decision that was served had a predicted quality")
    judged = calibration([(told, seen) for told, seen in predicted if seen is not None])
    if judged is None:
        return Untold(why=Why.NOT_OBSERVED, message="of no answer with a predicted quality was the quality told")
    return judged


def _by_count(words: Iterable[str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(Counter(words).items(), key=lambda item: (-item[1], item[0])))
