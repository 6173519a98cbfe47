"""One metric of a log as arrays: what it was in every round, what was predicted of it, and two policies compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from crew_moe.learning.logged import Came, Choice, Logged
from crew_moe.learning.ope import (
    DEFAULT,
    WITH_PRIOR,
    Demanded,
    Estimate,
    NoOverlap,
    Overlap,
    Rounds,
    compare,
    cross_fitted,
    evaluate,
)
from crew_moe.learning.ope.rounds import Floats

REWARD: Final = "reward"
VIOLATIONS: Final = "violations"
_VALUES: Final[Mapping[str, Callable[[Came], float | None]]] = {
    REWARD: lambda came: came.reward,
    "cost_usd": lambda came: came.cost_usd,
    "latency_ms": lambda came: came.latency_ms,
    VIOLATIONS: lambda came: came.kept,
}
METRICS: Final = tuple(_VALUES)
_PRIORS: Final[Mapping[str, Callable[[Choice], Mapping[str, float]]]] = {
    REWARD: lambda choice: choice.quality,
    "cost_usd": lambda choice: choice.cost_usd,
}
RULE_OF_THREE: Final = (
    3.0  # what n trials did not show may come 3 / n times with 95 % (Hanley, Lippman-Hand, JAMA 1983)
)
_FARTHEST: Final = 3.0  # standard deviations of a feature that a reward model sees


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """A figure a decision, with its 95 % interval and standard error."""

    value: float
    low: float
    high: float
    error: float

    @classmethod
    def of(cls, found: Estimate) -> Bounds:
        return cls(value=found.value, low=found.low, high=found.high, error=found.error)

    def turned(self, whole: float) -> Bounds:
        """Of `whole`, what is left."""
        return Bounds(value=whole - self.value, low=whole - self.high, high=whole - self.low, error=self.error)

    def around(self, value: float) -> Bounds:
        """As wide, about another value."""
        moved = value - self.value
        return Bounds(value=value, low=self.low + moved, high=self.high + moved, error=self.error)

    def from_zero(self) -> Bounds:
        """Without what can't be: no metric is below 0."""
        return Bounds(value=self.value, low=max(0.0, self.low), high=self.high, error=self.error)

    def doubted(self, unseen: float) -> Bounds:
        """As high at least as what may be though it was never seen."""
        high, error = max(self.high, self.value + unseen), max(self.error, unseen / RULE_OF_THREE)
        return Bounds(value=self.value, low=self.low, high=high, error=error)

    def as_dict(self) -> dict[str, float]:
        """JSON-ready."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One metric, as it was and as it would have been; `change` is the paired difference, candidate - logged."""

    metric: str
    estimator: str
    rounds: int
    logged: Bounds
    candidate: Bounds
    change: Bounds
    effective_sample_size: float
    ok: ClassVar[bool] = True

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "ok": True,
            "metric": self.metric,
            "estimator": self.estimator,
            "rounds": self.rounds,
            "logged": self.logged.as_dict(),
            "candidate": self.candidate.as_dict(),
            "change": self.change.as_dict(),
            "effective_sample_size": self.effective_sample_size,
        }


Told = Compared | NoOverlap


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MetricTable:
    """The rounds of one metric as arrays. Violations stand in it as what was kept, so that a refusal is worth 0."""

    metric: str
    choices: Sequence[Choice]
    rounds: Rounds
    candidate: Floats
    predicted: Floats
    informed: bool

    @classmethod
    def of(cls, logged: Logged, metric: str, rng: np.random.Generator) -> MetricTable:
        value = _VALUES[metric]
        told = [(choice, seen) for choice, came in logged.rounds if (seen := value(came)) is not None]
        choices = [choice for choice, _ in told]
        named = {name for choice in choices for name in (*choice.logging, *choice.candidate)}
        place = {name: index for index, name in enumerate(sorted(named))}
        rounds = Rounds(
            action=np.array([place[choice.expert_id] for choice in choices], dtype=np.int64),
            reward=np.array([seen for _, seen in told], dtype=np.float64),
            propensity=np.array([choice.logging[choice.expert_id] for choice in choices], dtype=np.float64),
            arms=len(place),
            logging=_spread([choice.logging for choice in choices], place),
        )
        prior = _prior(metric, choices, place)
        return cls(
            metric=metric,
            choices=choices,
            rounds=rounds,
            candidate=_spread([choice.candidate for choice in choices], place),
            informed=prior is not None,
            predicted=cross_fitted(rounds, _context(choices), rng, prior=prior) if choices else np.zeros((0, 0)),
        )

    def compared(self, estimator: str | None, demanded: Demanded, index: npt.NDArray[np.int64] | None = None) -> Told:
        """Over all rounds, or those at `index`. Without an `estimator`, by the one that fits: a model that begins from
        predictions of old is believed more.
        """
        rounds, candidate, predicted = self.rounds, self.candidate, self.predicted
        if index is not None:
            rounds, candidate, predicted = rounds.taken(index), candidate[index], predicted[index]
        usual = WITH_PRIOR if self.informed else DEFAULT
        method: dict[str, Any] = {"estimator": estimator or usual, "demanded": demanded}
        logging = np.zeros_like(candidate) if rounds.logging is None else rounds.logging
        change = compare(rounds, candidate, logging, predicted, **method)
        if isinstance(change, NoOverlap):
            return change
        would = evaluate(rounds, candidate, predicted, **method)
        did = evaluate(rounds, logging, predicted, **method)
        if isinstance(would, NoOverlap):
            return would
        if isinstance(did, NoOverlap):
            return did
        bounds = [Bounds.of(one) for one in (did, would, change)]
        if self.metric == VIOLATIONS:
            bounds = [one.turned(whole) for one, whole in zip(bounds, (1.0, 1.0, 0.0), strict=True)]
            bounds = [bounds[0], *(one.doubted(_unseen(change.overlap)) for one in bounds[1:])]
        return Compared(
            metric=self.metric,
            estimator=would.estimator,
            rounds=len(rounds),
            logged=bounds[0].from_zero(),
            candidate=bounds[1].around(bounds[0].value + bounds[2].value).from_zero(),
            change=bounds[2],
            effective_sample_size=would.effective_sample_size,
        )

    def parts(self, by: str) -> dict[str, npt.NDArray[np.int64]]:
        """Where the rounds of each cohort stand."""
        found: dict[str, list[int]] = {}
        for index, choice in enumerate(self.choices):
            found.setdefault(choice.cohorts[by], []).append(index)
        return {name: np.array(places, dtype=np.int64) for name, places in sorted(found.items())}


def _unseen(overlap: Overlap) -> float:
    """The share of violations that may come with the changed choices though their evidence holds none."""
    if not overlap.moved or overlap.effective_moved is None:
        return 0.0
    return overlap.moved / overlap.rounds * min(1.0, RULE_OF_THREE / overlap.effective_moved)


def _spread(chances: Sequence[Mapping[str, float]], place: Mapping[str, int]) -> Floats:
    table = np.zeros((len(chances), len(place)))
    for row, shares in enumerate(chances):
        for name, share in shares.items():
            table[row, place[name]] = share
    return table


def _prior(metric: str, choices: Sequence[Choice], place: Mapping[str, int]) -> Floats | None:
    """What was predicted when the decisions were made, where something was for all who were chosen."""
    predicted = _PRIORS.get(metric)
    if predicted is None or not all(choice.expert_id in predicted(choice) for choice in choices):
        return None
    rows = [predicted(choice) for choice in choices]
    middle = [float(np.mean(list(row.values()))) for row in rows]
    table = np.tile(np.array(middle)[:, None], (1, len(place)))  # where nothing was predicted of an expert: the middle
    for number, row in enumerate(rows):
        for name, value in row.items():
            if name in place:
                table[number, place[name]] = value
    return table


def _context(choices: Sequence[Choice]) -> Floats:
    """(rounds, features), each about 1 in size: what is known of the requests, and the vector that bandits learn on."""
    names = sorted({name for choice in choices for name in choice.context})
    table = np.array([[choice.context.get(name, 0.0) for name in names] for choice in choices])
    width = len(choices[0].vector)
    if width and all(len(choice.vector) == width for choice in choices):
        table = np.hstack([table, np.array([choice.vector for choice in choices])])
    deviation = table.std(axis=0)
    scaled = (table - table.mean(axis=0)) / np.where(deviation > 0.0, deviation, 1.0)
    clipped: Floats = np.clip(scaled, -_FARTHEST, _FARTHEST)
    return clipped
