"""The verdict on a candidate, from rounds whose truth is known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from crew_moe.learning.logged import Came, Choice, Logged
from crew_moe.learning.metric_table import METRICS, Compared
from crew_moe.learning.ope import NoOverlap
from crew_moe.learning.policy_value import Gate, PolicyValue, policy_value

WORTH: Mapping[str, float] = {"a": 0.5, "b": 0.8}


def rounds(
    count: int,
    candidate: Mapping[str, float],
    *,
    fails: Mapping[str, float] | None = None,
    breach: float = 0.0,
    predicted: bool = False,
    tasks: int = 1,
) -> Logged:
    """A log that took `a` and `b` by turns of chance; `fails` is how often each of them does, by the first task."""
    rng = np.random.default_rng(1)
    made = []
    for number in range(count):
        expert, task = str(rng.choice(["a", "b"])), number % tasks
        failed = rng.random() < (fails or {}).get(expert, 0.0) and task == 0
        came = Came(reward=0.0 if failed else WORTH[expert], cost_usd=0.001, latency_ms=10.0, kept=float(not failed))
        choice = Choice(
            decision_id=f"d-{number}",
            expert_id=expert,
            logging={"a": 0.5, "b": 0.5},
            candidate=candidate,
            breach=breach,
            quality=WORTH if predicted else {},
            cost_usd={},
            context={f"task {task}": 1.0},
            vector=(),
            cohorts={"task_type": str(task), "tenant": "", "language": "Latn"},
        )
        made.append((choice, came))
    return Logged(rounds=tuple(made), left_out={}, seen=count)


def judged(logged: Logged, *by: str, gate: Gate | None = None) -> PolicyValue:
    return policy_value(logged, gate or Gate(), np.random.default_rng(0), by=by)


def compared(found: PolicyValue, metric: str) -> Compared:
    told = found.metrics[metric]
    assert isinstance(told, Compared), told
    return told


def test_gain_without_harm_passes() -> None:
    found = judged(rounds(800, {"b": 1.0}))

    assert found.ok
    assert compared(found, "reward").change.value == pytest.approx(0.15, abs=0.01)
    assert compared(found, "violations").change.value == 0.0
    assert list(found.as_dict()["metrics"]) == list(METRICS)


def test_harm_that_was_never_seen_is_not_ruled_out_by_little_evidence() -> None:
    found = judged(rounds(400, {"b": 1.0}))

    assert compared(found, "violations").change.high == pytest.approx(3.0 / 200.0)
    assert found.reasons == ("violations may rise by up to 1.5%; the margin is 1.0%",)


def test_harm_that_can_not_be_ruled_out_does_not_pass() -> None:
    found = judged(rounds(400, {"b": 1.0}, fails={"b": 0.05}))

    violations = compared(found, "violations")
    assert violations.change.low < 0.025 < violations.change.high
    assert violations.logged.low >= 0.0
    assert any("violations may rise by up to" in reason for reason in found.reasons)
    assert not any("gain" in reason for reason in found.reasons)


def test_wide_margin_lets_it_pass() -> None:
    assert judged(rounds(400, {"b": 1.0}, fails={"b": 0.05}), gate=Gate(margin=0.2)).ok


def test_gain_must_be_above_what_is_asked_for() -> None:
    found = judged(rounds(400, {"b": 1.0}), gate=Gate(min_gain=0.2))

    assert [reason for reason in found.reasons if "it must be above 0.2000" in reason]


def test_refusals_and_breaches_are_violations_that_are_known() -> None:
    refusing, breaching = judged(rounds(400, {"b": 0.9})), judged(rounds(400, {"b": 0.9}, breach=0.1))

    for found in (refusing, breaching):
        assert compared(found, "violations").change.value == pytest.approx(0.1, abs=1e-6)
    assert refusing.breaches == 0.0
    assert breaching.breaches == pytest.approx(0.1)


def test_harm_in_one_cohort_is_found_beside_many() -> None:
    logged = rounds(2_000, {"b": 1.0}, fails={"b": 0.5}, tasks=10)

    found = judged(logged, "task_type", gate=Gate(margin=0.1))

    assert [cohort.name for cohort in found.cohorts if cohort.harmed] == ["0"]
    assert found.reasons == ("violations rise by more than the margin where task_type is 0",)


def test_log_without_rounds_says_so_of_every_metric() -> None:
    found = judged(Logged(rounds=(), left_out={"too_old": 7}, seen=7), "task_type")

    assert all(isinstance(told, NoOverlap) for told in found.metrics.values())
    assert len(found.reasons) == 2


def test_old_predictions_are_where_the_reward_model_begins() -> None:
    plain, predicted = judged(rounds(400, {"b": 1.0})), judged(rounds(400, {"b": 1.0}, predicted=True))

    assert (compared(plain, "reward").estimator, compared(predicted, "reward").estimator) == ("sndr", "blend")
    assert compared(predicted, "reward").candidate.value == pytest.approx(0.8, abs=0.001)
