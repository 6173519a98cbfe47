"""The value of a candidate, and what it would have gained, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar, Final, Self

import numpy as np

from crew_moe.domain.word import Word
from crew_moe.errors import InvalidInput
from crew_moe.learning.ope.estimators import ESTIMATORS, Estimator, Parts, parts_of
from crew_moe.learning.ope.overlap import DEMANDED, Demanded, NoOverlap, Overlap, overlap_of, refused
from crew_moe.learning.ope.quantile import student_t
from crew_moe.learning.ope.rounds import Floats, Rounds, checked_chances

DEFAULT: Final = "sndr"
WITH_PRIOR: Final = "blend"
"""The better one where the reward model begins from what was learned elsewhere."""
RESAMPLES: Final = 1_000
_SLICE: Final = 100  # resamples at a time, so that memory stays small
_LEAST_DF: Final = 3.0


class Interval(Word):
    """How an interval is made."""

    ASYMPTOTIC = "asymptotic"  # central limit theorem, delta method for ratios, Student's t
    BOOTSTRAP = "bootstrap"  # percentiles over resampled rounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a candidate is worth (or worth more than another) a round, and between what bounds with the `level` asked
    for. `error` is the standard error.
    """

    ok: ClassVar[bool] = True

    estimator: str
    value: float
    low: float
    high: float
    error: float
    level: float
    overlap: Overlap

    @property
    def effective_sample_size(self) -> float:
        return self.overlap.effective_sample_size

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "ok": True,
            "estimator": self.estimator,
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "error": self.error,
            "level": self.level,
            "overlap": self.overlap.as_dict(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How to estimate: which of ESTIMATORS, how sure the interval is, the highest weight, what overlap is demanded.

    `rng` is asked for the resamples of a bootstrap.
    """

    estimator: str = DEFAULT
    level: float = 0.95
    interval: Interval = Interval.ASYMPTOTIC
    clip: float | None = None
    demanded: Demanded = DEMANDED
    rng: np.random.Generator | None = None

    @property
    def recipe(self) -> Estimator:
        found = ESTIMATORS.get(self.estimator)
        if found is None:
            what = f"unknown estimator '{self.estimator}'"
            raise InvalidInput(what, where="estimator", value=self.estimator, allowed=tuple(ESTIMATORS))
        return found


def evaluate(rounds: Rounds, candidate: Floats, predicted: Floats | None = None, **method: Any) -> Estimate | NoOverlap:
    """The mean reward that the candidate's choices would have had.

    `candidate` are its probabilities and `predicted` a model's rewards, both (rounds, arms); the model must not have
    learned a round from the round itself (see `cross_fitted`). `method` are the fields of Method. Raises InvalidInput
    for what has not the right shape, and for an estimator that needs a model where none is given.
    """
    how = Method(**method)
    overlap = overlap_of(rounds, checked_chances(candidate, rounds, "candidate"))
    refusal = refused(overlap, how.demanded)
    if refusal is not None:
        return refusal
    return _estimate(how, rounds, (candidate,), predicted, overlap)


def compare(
    rounds: Rounds, candidate: Floats, other: Floats, predicted: Floats | None = None, **method: Any
) -> Estimate | NoOverlap:
    """How much more reward a round `candidate` would have had than `other`, such as the logging policy itself; both
    (rounds, arms). Paired: what the two have in common in a round cancels. Else as `evaluate`.
    """
    how = Method(**method)
    overlap = overlap_of(rounds, checked_chances(candidate, rounds, "candidate"))
    against = overlap_of(rounds, checked_chances(other, rounds, "other"))
    refusal = refused(overlap, how.demanded) or refused(against, how.demanded)
    if refusal is not None:
        return refusal
    return _estimate(how, rounds, (candidate, other), predicted, overlap)


def _estimate(
    how: Method, rounds: Rounds, policies: Sequence[Floats], predicted: Floats | None, overlap: Overlap
) -> Estimate:
    """The value of the first policy, less that of the second where there is one.

    What is nearer to the model than the whole correction errs less than that, where it errs differently at all, so it
    takes the interval of the whole.
    """
    recipe = how.recipe
    _check_model(how, rounds, predicted)
    told = _Contrast.of([parts_of(recipe, rounds, one, predicted, how.clip) for one in policies])
    whole = _Contrast.of([parts_of(recipe.whole, rounds, one, predicted, how.clip) for one in policies])
    value = told.direct.mean() + (_share(told) if recipe.blended else 1.0) * told.correction
    error = _error(whole)
    if how.interval is Interval.BOOTSTRAP:
        low, high = (value + bound for bound in _percentiles(whole, how))
    else:
        half = student_t(0.5 + how.level / 2.0, max(_LEAST_DF, overlap.effective_sample_size - 1.0)) * error
        low, high = value - half, value + half
    return Estimate(
        estimator=how.estimator,
        value=float(value),
        low=float(low),
        high=float(high),
        error=error,
        level=how.level,
        overlap=overlap,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Contrast:
    """One estimate, or the difference of two; `direct` and `noise` by rounds."""

    parts: Sequence[Parts]
    direct: Floats
    correction: float
    noise: Floats

    @classmethod
    def of(cls, parts: Sequence[Parts]) -> Self:
        first = parts[0]
        direct, correction, noise = first.direct, first.correction, first.noise
        for other in parts[1:]:
            direct, correction, noise = direct - other.direct, correction - other.correction, noise - other.noise
        return cls(parts=parts, direct=direct, correction=correction, noise=noise)


def _check_model(how: Method, rounds: Rounds, predicted: Floats | None) -> None:
    if predicted is None and how.recipe.modelled:
        allowed = tuple(name for name, one in ESTIMATORS.items() if not one.modelled)
        raise InvalidInput(f"'{how.estimator}' needs a reward model", where="predicted", allowed=allowed)
    if predicted is not None and (predicted.shape != (len(rounds), rounds.arms) or not np.isfinite(predicted).all()):
        raise InvalidInput("one finite reward is needed for each round and arm", where="predicted")


def _error(of: _Contrast) -> float:
    count = len(of.direct)
    return float((of.direct + of.noise).std(ddof=1)) / sqrt(count) if count > 1 else 0.0


def _share(of: _Contrast) -> float:
    """How much of the correction to believe."""
    squared = of.correction * of.correction
    variance = float(of.noise.var()) / len(of.noise)
    return squared / (squared + variance) if squared > 0.0 else 0.0


def _percentiles(of: _Contrast, how: Method) -> tuple[float, float]:
    """How far below and above the estimate the resampled ones lie."""
    if how.rng is None:
        raise InvalidInput("a bootstrap needs an rng", where="rng")
    columns = np.stack([column for one in of.parts for column in (one.direct, one.upper, one.lower)], axis=1)
    count = len(columns)
    drawn = []
    for _ in range(0, RESAMPLES, _SLICE):
        times = how.rng.multinomial(count, np.full(count, 1.0 / count), size=_SLICE)  # (resamples, rounds)
        means = times @ columns / count  # (resamples, 3 or 6)
        values = [
            means[:, i] + means[:, i + 1] / np.maximum(means[:, i + 2], 1e-12) for i in range(0, means.shape[1], 3)
        ]
        drawn.append(values[0] if len(values) == 1 else values[0] - values[1])
    tail = (1.0 - how.level) / 2.0
    low, high = np.quantile(np.concatenate(drawn), [tail, 1.0 - tail])
    middle = float(of.direct.mean()) + of.correction
    return float(low) - middle, float(high) - middle
