"""Verdicts: who wins, what has done harm, and when it is too early to say."""

from __future__ import annotations

import numpy as np
import pytest

from crew_moe.learning.experiment import METRICS, Arm, Moments, Tally, Verdict, standing, verdict_on
from crew_moe.learning.experiment.standing import Guard, compare, contrast, design_effect
from tests.learning.experiment.given import counted, experiment, rate


def _both(control: float, candidate: float, count: int) -> Tally:
    """Reward and success at these rates."""
    return counted(
        {"reward": rate(control, count), "success": rate(control, count)},
        {"reward": rate(candidate, count), "success": rate(candidate, count)},
    )


@pytest.mark.parametrize(
    ("control", "candidate", "count", "verdict", "because"),
    [
        (0.6, 0.8, 600, Verdict.CANDIDATE_WINS, "reward"),
        (0.8, 0.6, 600, Verdict.HARMED, "success"),
        (0.8, 0.7, 600, Verdict.CONTROL_WINS, "reward"),
        (0.7, 0.7, 600, Verdict.OPEN, ""),
        (0.0, 1.0, 49, Verdict.OPEN, ""),
        (0.0, 1.0, 50, Verdict.CANDIDATE_WINS, "reward"),
    ],
)
def test_verdict_follows_the_counts(
    control: float, candidate: float, count: int, verdict: Verdict, because: str
) -> None:
    found = standing(experiment(), _both(control, candidate, count))

    assert (found.verdict, found.because) == (verdict, because)


def test_nobody_wins_before_the_guardrails_hold() -> None:
    tally = counted({"reward": rate(0.5, 400)}, {"reward": rate(0.9, 400)})

    asked_for = standing(experiment(required=("success",)), tally)
    usual = standing(experiment(), tally)

    assert (asked_for.verdict, asked_for.guardrails[0].state) == (Verdict.OPEN, Guard.UNTOLD)
    assert (usual.verdict, usual.guardrails[0].state) == (Verdict.CANDIDATE_WINS, Guard.UNTOLD)


@pytest.mark.parametrize(
    ("factor", "verdict", "state"),
    [(1.0, Verdict.OPEN, Guard.HOLDS), (1.2, Verdict.OPEN, Guard.OPEN), (1.6, Verdict.HARMED, Guard.BROKEN)],
)
def test_cost_may_grow_by_its_margin(factor: float, verdict: Verdict, state: Guard) -> None:
    cost = np.random.default_rng(2).gamma(2.0, 0.001, 1_000)
    plan = experiment(margins={"cost": 0.2})

    found = standing(plan, counted({"cost": cost}, {"cost": factor * cost}))

    assert (found.verdict, found.guardrails[0].state) == (verdict, state)
    assert compare(plan, counted({"cost": cost}, {"cost": factor * cost}), "cost").change is not None


def test_a_metric_that_decides_by_being_less_wins_by_being_less() -> None:
    latency = np.random.default_rng(2).gamma(4.0, 300.0, 500)
    plan = experiment(metric="latency", margins={})

    assert standing(plan, counted({"latency": latency}, {"latency": 0.7 * latency})).verdict is Verdict.CANDIDATE_WINS
    assert standing(plan, counted({"latency": latency}, {"latency": 1.4 * latency})).verdict is Verdict.CONTROL_WINS


def test_ratio_has_the_variance_of_the_delta_method() -> None:
    """Against the spread of the estimate over many draws."""
    rng = np.random.default_rng(4)
    draws = [(rng.gamma(2.0, 1.0, 400), rng.gamma(2.0, 1.3, 200)) for _ in range(800)]
    found = [contrast(METRICS["cost"], _moments(control), _moments(candidate)) for control, candidate in draws]

    spread = float(np.var([estimate for estimate, _ in found]))
    assert np.mean([variance for _, variance in found]) == pytest.approx(spread, rel=0.15)
    assert np.mean([estimate for estimate, _ in found]) == pytest.approx(0.3, abs=0.02)


def test_ten_successes_of_ten_are_not_yet_certainty() -> None:
    change = compare(experiment(), counted({"success": rate(1.0, 10)}, {"success": rate(1.0, 10)}), "success").change

    assert change is not None
    assert change.low < -0.3 < 0.3 < change.high


def test_decisions_of_one_key_count_less_than_those_of_many() -> None:
    alone, together = Tally(), Tally()
    for number in range(640):
        value = {"reward": float(number % 32 < 16)}
        alone = alone.plus(Tally.one(Arm.CONTROL, value, unit=(number // 32) % 32))
        together = together.plus(Tally.one(Arm.CONTROL, value, unit=number % 32))

    assert design_effect(alone, "reward") == 1.0
    assert design_effect(together, "reward") == pytest.approx(20.6, abs=0.2)


def test_one_lucky_cohort_among_many_is_adjusted_away() -> None:
    tally = Tally()
    for number in range(20):
        lift = 0.25 if number == 0 else 0.0
        tally = tally.plus(
            counted({"reward": rate(0.5, 60)}, {"reward": rate(0.5 + lift, 60)}, cohort=f"cohort {number:02}")
        )

    lucky = next(one for one in standing(experiment(by="task_type"), tally).others if one.cohort == "cohort 00")

    assert lucky.adjusted_p is not None
    assert lucky.p < lucky.adjusted_p


def test_false_alarms_are_rare_with_sticky_sessions() -> None:
    """Sessions of ten decisions that all go alike: without the units more than a third of such runs finds something."""
    rng, plan = np.random.default_rng(9), experiment(margins={}, horizon=4_000)
    found = 0
    for _ in range(20):
        tally = Tally()
        for session in range(200):
            arm = Arm.CANDIDATE if rng.random() < 0.5 else Arm.CONTROL
            one = Tally.one(arm, {"reward": float(rng.random() < 0.5)}, unit=int(rng.integers(32)))
            tally = tally.plus(Tally(cohorts=one.cohorts, cells=10.0 * one.cells))
            found_now = session > 30 and verdict_on(plan, tally)[0] is not Verdict.OPEN
            if found_now:
                found += 1
                break

    assert found <= 1


def _moments(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Moments:
    return Moments(float(values.size), float(values.sum()), float((values**2).sum()))
