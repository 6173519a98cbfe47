"""What a candidate policy would have been worth on a log: reward, cost, latency and violations, against what was done.

A violation is a decision whose chosen expert did not answer at once (its call failed, or the gate or a budget turned it
away), that was refused, or that took an expert whom the rules of safety had ruled out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from crew_moe.learning.experiment.adjusting import adjusted
from crew_moe.learning.logged import Logged
from crew_moe.learning.metric_table import METRICS, REWARD, VIOLATIONS, MetricTable, Told
from crew_moe.learning.ope import Demanded, NoOverlap

ENOUGH: Final = Demanded(effective=40.0)
BELIEVED: Final = 0.05  # share of chance among the cohorts that are said to differ


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
    demanded: Demanded = ENOUGH


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
        tables[metric] = MetricTable.of(logged, metric, rng)
    metrics = {name: table.compared(gate.estimator, gate.demanded) for name, table in tables.items()}
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


def _cohorts(tables: Mapping[str, MetricTable], gate: Gate, by: Sequence[str]) -> Iterator[Cohort]:
    for which in by:
        rewarded, kept = tables[REWARD].parts(which), tables[VIOLATIONS].parts(which)
        for name in sorted(rewarded.keys() | kept.keys()):
            nowhere = np.zeros(0, dtype=np.int64)
            some, others = rewarded.get(name, nowhere), kept.get(name, nowhere)
            yield Cohort(
                by=which,
                name=name,
                rounds=max(len(some), len(others)),
                reward=tables[REWARD].compared(gate.estimator, gate.demanded, some),
                violations=tables[VIOLATIONS].compared(gate.estimator, gate.demanded, others),
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
        least = round(reward.change.low, 4) + 0.0  # no -0
        yield f"the gain may be as little as {least:+.4f}; it must be above {gate.min_gain:.4f}"
    for cohort in cohorts:
        if cohort.harmed:
            yield f"violations rise by more than the margin where {cohort.by} is {cohort.name or 'not told'}"
