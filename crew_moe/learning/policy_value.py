"""What a candidate policy would have been worth on a log: reward, cost, latency and violations, against what was done.

A violation is a decision whose chosen expert did not answer at once (its call failed, or the gate or a budget turned it
away), that was refused, or that took an expert whom the rules of safety had ruled out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from crew_moe.learning.experiment.adjusting import adjusted
from crew_moe.learning.logged import Came, Choice, Logged
from crew_moe.learning.ope import (
    DEFAULT,
    WITH_PRIOR,
    Demanded,
    Estimate,
    NoOverlap,
    Rounds,
    compare,
    cross_fitted,
    evaluate,
)
from crew_moe.learning.ope.overlap import DEMANDED
from crew_moe.learning.ope.rounds import Floats

REWARD: Final = "reward"
VIOLATIONS: Final = "violations"
BELIEVED: Final = 0.05  # share of chance among the cohorts that are said to differ
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """One part of the requests: the changes of reward and violations, and whether they may be believed beside all the
    other parts that were looked at (Benjamini-Hochberg, 5 %).
    """

    by: str
    name: str
    rounds: int
    reward: Told
    violations: Told
    reward_differs: bool = False
    harmed: bool = False

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "by": self.by,
            "name": self.name,
            "rounds": self.rounds,
            "reward": self.reward.as_dict(),
            "violations": self.violations.as_dict(),
            "reward_differs": self.reward_differs,
            "harmed": self.harmed,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyValue:
    """The whole comparison. `breaches` is the share of choices that the rules of safety had ruled out; they count as
    violations. `reasons` say why the candidate does not pass; there are none where it does.
    """

    seen: int
    left_out: Mapping[str, int]
    breaches: float
    metrics: Mapping[str, Told]
    cohorts: tuple[Cohort, ...]
    reasons: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.reasons

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "ok": self.ok,
            "reasons": list(self.reasons),
            "seen": self.seen,
            "left_out": dict(self.left_out),
            "breaches": self.breaches,
            "metrics": {name: told.as_dict() for name, told in self.metrics.items()},
            "cohorts": [cohort.as_dict() for cohort in self.cohorts],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What passes: violations may rise by no more than `margin`, reward must rise by more than `min_gain`. Without an
    `estimator` each metric has the one that fits it.
    """

    estimator: str | None = None
    margin: float = 0.01
    min_gain: float = 0.0
    demanded: Demanded = DEMANDED


def policy_value(
    logged: Logged,
    gate: Gate,
    rng: np.random.Generator,
    *,
    by: Sequence[str] = (),
    step: Callable[[str], None] = lambda _: None,
) -> PolicyValue:
    """Compare the candidate with what was done. `by` names the cohorts, as Choice has them; `step` is called with the
    name of each metric when it is begun.
    """
    tables = {}
    for metric in METRICS:
        step(metric)
        tables[metric] = _Table.of(logged, metric, rng)
    metrics = {name: table.compared(gate) for name, table in tables.items()}
    cohorts = _believed(list(_cohorts(tables, gate, by)), gate)
    breaches = [choice.breach for choice, _ in logged.rounds]
    return PolicyValue(
        seen=logged.seen,
        left_out=logged.left_out,
        breaches=float(np.mean(breaches)) if breaches else 0.0,
        metrics=metrics,
        cohorts=cohorts,
        reasons=tuple(_reasons(metrics, cohorts, gate)),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Table:
    """The rounds of one metric as arrays. Violations stand in it as what was kept, so that a refusal is worth 0."""

    metric: str
    choices: Sequence[Choice]
    rounds: Rounds
    candidate: Floats
    predicted: Floats
    informed: bool

    @classmethod
    def of(cls, logged: Logged, metric: str, rng: np.random.Generator) -> _Table:
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

    def compared(self, gate: Gate, index: npt.NDArray[np.int64] | None = None) -> Told:
        """Over all rounds, or those at `index`."""
        rounds, candidate, predicted = self.rounds, self.candidate, self.predicted
        if index is not None:
            rounds, candidate, predicted = rounds.taken(index), candidate[index], predicted[index]
        usual = WITH_PRIOR if self.informed else DEFAULT
        method: dict[str, Any] = {"estimator": gate.estimator or usual, "demanded": gate.demanded}
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
        return Compared(
            metric=self.metric,
            estimator=would.estimator,
            rounds=len(rounds),
            logged=bounds[0],
            candidate=bounds[1].around(bounds[0].value + bounds[2].value),
            change=bounds[2],
            effective_sample_size=would.effective_sample_size,
        )

    def parts(self, by: str) -> dict[str, npt.NDArray[np.int64]]:
        """Where the rounds of each cohort stand."""
        found: dict[str, list[int]] = {}
        for index, choice in enumerate(self.choices):
            found.setdefault(choice.cohorts[by], []).append(index)
        return {name: np.array(places, dtype=np.int64) for name, places in sorted(found.items())}


def _cohorts(tables: Mapping[str, _Table], gate: Gate, by: Sequence[str]) -> Iterator[Cohort]:
    for which in by:
        rewarded, kept = tables[REWARD].parts(which), tables[VIOLATIONS].parts(which)
        for name in sorted(rewarded.keys() | kept.keys()):
            nowhere = np.zeros(0, dtype=np.int64)
            some, others = rewarded.get(name, nowhere), kept.get(name, nowhere)
            yield Cohort(
                by=which,
                name=name,
                rounds=max(len(some), len(others)),
                reward=tables[REWARD].compared(gate, some),
                violations=tables[VIOLATIONS].compared(gate, others),
            )


def _believed(cohorts: Sequence[Cohort], gate: Gate) -> tuple[Cohort, ...]:
    """The cohorts, with what may be believed of them all at once."""
    differs = adjusted([_two_sided(cohort.reward) for cohort in cohorts])
    harmed = adjusted([_beyond(cohort.violations, gate.margin) for cohort in cohorts])
    return tuple(
        Cohort(
            by=cohort.by,
            name=cohort.name,
            rounds=cohort.rounds,
            reward=cohort.reward,
            violations=cohort.violations,
            reward_differs=differs[place] <= BELIEVED,
            harmed=harmed[place] <= BELIEVED,
        )
        for place, cohort in enumerate(cohorts)
    )


def _two_sided(told: Told) -> float:
    return 1.0 if isinstance(told, NoOverlap) else 2.0 * _tail(abs(told.change.value), told.change.error)


def _beyond(told: Told, margin: float) -> float:
    """How easily so large a rise comes by chance where the true one is the margin."""
    return 1.0 if isinstance(told, NoOverlap) else _tail(told.change.value - margin, told.change.error)


def _tail(distance: float, error: float) -> float:
    if error <= 0.0:
        return 0.0 if distance > 0.0 else 0.5
    return 1.0 - NormalDist().cdf(distance / error)


def _reasons(metrics: Mapping[str, Told], cohorts: Sequence[Cohort], gate: Gate) -> Iterator[str]:
    violations, reward = metrics[VIOLATIONS], metrics[REWARD]
    if isinstance(violations, NoOverlap):
        yield f"nothing can be said of violations: {violations.message}"
    elif violations.change.high > gate.margin:
        yield f"violations may rise by up to {violations.change.high:.1%}; the margin is {gate.margin:.1%}"
    if isinstance(reward, NoOverlap):
        yield f"nothing can be said of the reward: {reward.message}"
    elif reward.change.low <= gate.min_gain:
        yield f"the gain may be as little as {reward.change.low:+.4f}; it must be above {gate.min_gain:.4f}"
    for cohort in cohorts:
        if cohort.harmed:
            yield f"violations rise by more than the margin where {cohort.by} is {cohort.name or 'not told'}"


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
