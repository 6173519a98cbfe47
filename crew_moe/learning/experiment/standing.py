"""How an experiment stands: what its counts say now, and the verdict that they allow. May be asked at every moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf
from typing import Final, NamedTuple

import numpy as np

from crew_moe.domain.word import Word
from crew_moe.learning.experiment.adjusting import adjusted
from crew_moe.learning.experiment.assignment import UNITS, Arm
from crew_moe.learning.experiment.metrics import COMPARED, METRICS, Metric
from crew_moe.learning.experiment.plan import Experiment, Mode
from crew_moe.learning.experiment.sequence import Interval, interval, p_value
from crew_moe.learning.experiment.tally import Moments, Tally

ENDS: Final = 0.5
"""A metric in [0, 1] is given one more observation at either end, for its variance alone: their distance from the mean,
squared, is at least this. Of ten successes in ten nobody knows yet that there are no failures.
"""


class Verdict(Word):
    """What may be said of an experiment."""

    OPEN = "open"
    CANDIDATE_WINS = "candidate_wins"
    CONTROL_WINS = "control_wins"
    HARMED = "harmed"


class Guard(Word):
    """What may be said of a guardrail."""

    OPEN = "open"
    HOLDS = "holds"
    UNTOLD = "untold"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The candidate against the control in one metric, in all or in one cohort. `change` is the difference of the
    means, or for a relative metric their ratio less 1, and what it lies between at every moment. As many decisions as
    `likeness` tell as much as one would of a key of its own. `adjusted_p` looks at all metrics and cohorts of the
    experiment together, and is None for the one that decides.
    """

    metric: str
    cohort: str | None
    control: Moments
    candidate: Moments
    change: Interval | None
    likeness: float = 1.0
    p: float = 1.0
    adjusted_p: float | None = None


class Difference(NamedTuple):
    """What the candidate would have chosen in the shadow, against what was chosen: the mean of a shadow metric over
    `n` decisions.
    """

    metric: str
    n: int
    mean: Interval


class Guardrail(NamedTuple):
    """One metric in which the candidate may be worse by no more than `margin`."""

    metric: str
    margin: float
    state: Guard


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Everything that the counts of an experiment say now. `because` names the metric that made the verdict."""

    verdict: Verdict
    because: str
    main: Comparison
    guardrails: tuple[Guardrail, ...]
    others: tuple[Comparison, ...]
    shadow: tuple[Difference, ...] = ()


def standing(plan: Experiment, tally: Tally) -> Standing:
    """What may be said now.

    The candidate has done harm as soon as the interval of one guardrail lies beyond its margin as a whole. It wins
    when that of the metric lies above 0, and those of all guardrails inside their margins. The control wins when the
    interval of the metric lies below 0.
    """
    main, guards = compare(plan, tally, plan.metric), _guardrails(plan, tally)
    verdict, because = _verdict(plan, main, guards)
    if plan.mode is Mode.SHADOW:
        verdict, because = Verdict.OPEN, ""
    return Standing(
        verdict=verdict,
        because=because,
        main=main,
        guardrails=guards,
        others=_others(plan, tally),
        shadow=tuple(_differences(plan, tally)),
    )


def verdict_on(plan: Experiment, tally: Tally) -> tuple[Verdict, str]:
    """The verdict of `standing` and the metric that made it, and no more: it is asked after every observation."""
    return _verdict(plan, compare(plan, tally, plan.metric), _guardrails(plan, tally))


def compare(plan: Experiment, tally: Tally, name: str, cohort: str | None = None) -> Comparison:
    """One metric of both arms. Keys bring several decisions that are like each other: the variance is that of as many
    decisions as if each had come alone, times how much more the units differ than that explains, at least once.
    """
    metric = METRICS[name]
    control, candidate = (tally.of(arm, name, cohort) for arm in (Arm.CONTROL, Arm.CANDIDATE))
    change, p, likeness = None, 1.0, design_effect(tally, name)
    if control.n and candidate.n and not (metric.relative and control.total <= 0.0):
        estimate, variance = contrast(metric, control, candidate)
        variance *= likeness
        n = (control.n + candidate.n) / likeness
        narrowest = plan.narrowest(name)
        change = interval(estimate, variance, n, plan=narrowest, alpha=plan.alpha)
        p = p_value(estimate, variance, n, plan=narrowest, alpha=plan.alpha)
    return Comparison(
        metric=name, cohort=cohort, control=control, candidate=candidate, change=change, likeness=likeness, p=p
    )


def contrast(metric: Metric, control: Moments, candidate: Moments) -> tuple[float, float]:
    """The change from control to candidate, and the variance of its estimate (the ratio's by the delta method)."""
    of_control, of_candidate = (_variance(metric, one) / one.n for one in (control, candidate))
    if not metric.relative:
        return candidate.mean - control.mean, of_control + of_candidate
    ratio = candidate.mean / control.mean
    return ratio - 1.0, (of_candidate + ratio**2 * of_control) / control.mean**2


def design_effect(tally: Tally, name: str) -> float:
    """How much larger the variance of the means is than if decisions of the same key were strangers; at least 1.

    From the sums of units, each of which holds all decisions of its keys (the between-cluster variance of a ratio, as
    in Kish 1965, over that of single observations), both arms together.
    """
    between = within = 0.0
    for arm in Arm:
        moments, units = tally.of(arm, name), tally.units(arm, name)
        if moments.n:
            apart = units[:, 1] - moments.mean * units[:, 0]
            between += float(np.sum(apart**2)) * UNITS / (UNITS - 1) / moments.n
            within += moments.variance
    return max(1.0, between / within) if within > 0.0 else 1.0


def _differences(plan: Experiment, tally: Tally) -> Iterator[Difference]:
    """Means of the shadow metrics that there are."""
    for name in (name for name, metric in METRICS.items() if metric.shadow):
        found = tally.of(Arm.CANDIDATE, name)
        if found.n:
            variance = _variance(METRICS[name], found) / found.n * design_effect(tally, name)
            mean = interval(found.mean, variance, found.n, plan=plan.narrowest(name), alpha=plan.alpha)
            yield Difference(name, int(found.n), mean)


def _variance(metric: Metric, moments: Moments) -> float:
    if not metric.unit:
        return moments.variance
    mean, n = moments.mean, moments.n
    apart = max(0.0, moments.squares - moments.total * mean) + max(ENDS, mean**2 + (1.0 - mean) ** 2)
    return apart / n


def _enough(plan: Experiment, found: Comparison) -> bool:
    return min(found.control.n, found.candidate.n) / found.likeness >= plan.min_samples


def _gain(found: Comparison) -> tuple[float, float]:
    """The interval of the change, turned so that more is better."""
    if found.change is None:
        return -inf, inf
    low, high = found.change.low, found.change.high
    return (low, high) if METRICS[found.metric].better > 0 else (-high, -low)


def _guard(plan: Experiment, found: Comparison, margin: float) -> Guard:
    if not found.control.n and not found.candidate.n:
        return Guard.UNTOLD
    if not _enough(plan, found):
        return Guard.OPEN
    low, high = _gain(found)
    if high < -margin:
        return Guard.BROKEN
    return Guard.HOLDS if low > -margin else Guard.OPEN


def _guardrails(plan: Experiment, tally: Tally) -> tuple[Guardrail, ...]:
    return tuple(
        Guardrail(name, margin, _guard(plan, compare(plan, tally, name), margin))
        for name, margin in plan.margins.items()
    )


def _verdict(plan: Experiment, main: Comparison, guards: tuple[Guardrail, ...]) -> tuple[Verdict, str]:
    broken = [guard.metric for guard in guards if guard.state is Guard.BROKEN]
    if broken:
        return Verdict.HARMED, broken[0]
    low, high = _gain(main)
    if not _enough(plan, main) or low <= 0.0 <= high:
        return Verdict.OPEN, ""
    if high < 0.0:
        return Verdict.CONTROL_WINS, main.metric
    holds = all(guard.state is Guard.HOLDS or _passed_over(plan, guard) for guard in guards)
    return (Verdict.CANDIDATE_WINS, main.metric) if holds else (Verdict.OPEN, "")


def _passed_over(plan: Experiment, guard: Guardrail) -> bool:
    return guard.state is Guard.UNTOLD and guard.metric not in plan.required


def _others(plan: Experiment, tally: Tally) -> tuple[Comparison, ...]:
    """Every other metric, and the one that decides in every cohort, with p-values adjusted for their number."""
    found = [one for one in _asked(plan, tally) if one.control.n or one.candidate.n]
    p_values = adjusted([one.p for one in found])
    return tuple(replace(one, adjusted_p=p) for one, p in zip(found, p_values, strict=True))


def _asked(plan: Experiment, tally: Tally) -> Iterator[Comparison]:
    yield from (compare(plan, tally, name) for name in COMPARED if name != plan.metric)
    yield from (compare(plan, tally, plan.metric, cohort) for cohort in tally.cohorts)
