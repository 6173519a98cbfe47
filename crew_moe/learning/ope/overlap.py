"""Overlap: whether a log can say anything of a candidate, and the refusal where it can't."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np

from crew_moe.domain.word import Word
from crew_moe.learning.ope.rounds import Floats, Rounds

CERTAIN: Final = 1.0 - 1e-9
SURE: Final = 3.0  # standard errors by which the mean weight must miss 1 to say that support is missing
MOVED: Final = 1e-6  # difference of the probabilities, in sum, below which a round's choice is the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Demanded:
    """What a log must give: at most this share of the candidate's choices without support, and at least so many rounds'
    worth of evidence, over all rounds and over those alone in which the candidate chooses another way. Where
    few rounds have large weights, below about 40 the 95 % intervals hold the truth less often than that.
    """

    unsupported: float = 0.01
    effective: float = 30.0


DEMANDED: Final = Demanded()


class Reason(Word):
    """Why a log says nothing of a candidate."""

    NO_ROUNDS = "no_rounds"
    NO_SUPPORT = "no_support"
    TOO_FEW = "too_few"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """How much of the log speaks of the candidate.

    `share_without_support` is how much of its choices could not have been logged. `effective_sample_size` is how many
    rounds chosen by the candidate itself would tell as much (Kish: (sum w)^2 / sum w^2). `moved` counts the rounds in
    which it chooses another way, and `effective_moved` their effective size as expected from the logging
    probabilities; None where those are not known, or where it only refuses.
    """

    rounds: int
    share_without_support: float
    effective_sample_size: float
    largest_weight: float
    moved: int | None = None
    effective_moved: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "rounds": self.rounds,
            "share_without_support": self.share_without_support,
            "effective_sample_size": self.effective_sample_size,
            "largest_weight": self.largest_weight,
            "moved": self.moved,
            "effective_moved": self.effective_moved,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOverlap:
    """The answer where there is no estimate: the log does not speak of this candidate."""

    ok: ClassVar[bool] = False

    reason: Reason
    overlap: Overlap
    message: str

    @property
    def share_without_support(self) -> float:
        return self.overlap.share_without_support

    @property
    def effective_sample_size(self) -> float:
        return self.overlap.effective_sample_size

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"ok": False, "reason": self.reason.value, "message": self.message, "overlap": self.overlap.as_dict()}


def overlap_of(rounds: Rounds, candidate: Floats) -> Overlap:
    """Measure it; `candidate` is (rounds, arms)."""
    if not len(rounds):
        return Overlap(rounds=0, share_without_support=0.0, effective_sample_size=0.0, largest_weight=0.0)
    weight = rounds.chosen(candidate) / rounds.propensity
    effective = _kish(float(weight.sum()), float((weight * weight).sum()))
    moved, effective_moved = _moved(rounds, candidate)
    return Overlap(
        rounds=len(rounds),
        share_without_support=_unsupported(rounds, candidate, weight),
        effective_sample_size=effective,
        largest_weight=float(weight.max()),
        moved=moved,
        effective_moved=effective_moved,
    )


def refused(overlap: Overlap, demanded: Demanded = DEMANDED) -> NoOverlap | None:
    """The refusal, where the overlap is less than what is demanded."""
    if not overlap.rounds:
        return NoOverlap(reason=Reason.NO_ROUNDS, overlap=overlap, message="there is no round to learn from")
    if overlap.share_without_support > demanded.unsupported:
        share = f"{overlap.share_without_support:.1%} of the candidate's choices could not have been logged"
        return NoOverlap(reason=Reason.NO_SUPPORT, overlap=overlap, message=f"{share}: the log does not explore them")
    if overlap.effective_sample_size < demanded.effective:
        return _too_few(overlap, overlap.effective_sample_size, overlap.rounds, "rounds", demanded)
    if overlap.moved and overlap.effective_moved is not None and overlap.effective_moved < demanded.effective:
        what = "rounds in which the candidate chooses another way"
        return _too_few(overlap, overlap.effective_moved, overlap.moved, what, demanded)
    return None


def _too_few(overlap: Overlap, effective: float, count: int, what: str, demanded: Demanded) -> NoOverlap:
    told = f"{count:,} {what} tell no more than {effective:.1f} of its own would; {demanded.effective:.0f} are needed"
    return NoOverlap(reason=Reason.TOO_FEW, overlap=overlap, message=told)


def _unsupported(rounds: Rounds, candidate: Floats, weight: Floats) -> float:
    if rounds.logging is not None:
        return float(np.where(rounds.logging > 0.0, 0.0, candidate).sum() / len(rounds))
    # Where the log was certain, nothing else had a chance. Elsewhere the weights have mean 1 if there is support.
    certain, served = rounds.propensity >= CERTAIN, candidate.sum(axis=1)
    known = float(np.where(certain, served - rounds.chosen(candidate), 0.0).mean())
    missing = float(served.mean() - weight.mean())
    error = float(weight.std()) / np.sqrt(len(rounds))
    return max(known, missing if missing > SURE * error else 0.0)


def _moved(rounds: Rounds, candidate: Floats) -> tuple[int | None, float | None]:
    """How many rounds the candidate decides another way, and their expected effective size."""
    logging = rounds.logging
    if logging is None:
        return None, None
    moved = np.abs(candidate - logging).sum(axis=1) > MOVED
    if not moved.any():
        return 0, None
    ours, theirs = candidate[moved], logging[moved]
    ratio = np.divide(ours, theirs, out=np.zeros_like(ours), where=theirs > 0.0)
    squares = float((ours * ratio).sum())
    return int(moved.sum()), _kish(float(ours.sum()), squares) if squares > 0.0 else None


def _kish(total: float, squares: float) -> float:
    return total * total / squares if squares > 0.0 else 0.0
