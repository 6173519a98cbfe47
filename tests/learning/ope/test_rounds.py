"""Arrays that can't be a log are named at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from crew_moe.errors import InvalidInput
from crew_moe.learning.ope import Rounds, evaluate
from crew_moe.learning.ope.quantile import student_t

GOOD: dict[str, Any] = {"action": [0, 1], "reward": [0.1, 0.2], "propensity": [0.5, 0.5], "arms": 2}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"reward": [0.1]}, "one action, reward and propensity"),
        ({"action": [0, 2]}, "an action is no index of 2 arms"),
        ({"action": [0, -1]}, "an action is no index of 2 arms"),
        ({"reward": [0.1, np.inf]}, "a reward is not finite"),
        ({"propensity": [0.5, 0.0]}, "a probability above 0"),
        ({"propensity": [0.5, 1.5]}, "at most 1"),
        ({"logging": [[0.5, 0.5]]}, r"its shape is \(1, 2\), not \(2, 2\)"),
        ({"logging": [[0.5, 0.5], [0.9, 0.1]]}, "it contradicts the propensities"),
    ],
)
def test_what_can_not_be_is_named(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        Rounds.of(**{**GOOD, **wrong})


def test_probabilities_of_a_candidate_are_checked() -> None:
    with pytest.raises(InvalidInput, match="candidate: the probabilities of a round"):
        evaluate(Rounds.of(**GOOD), np.full((2, 2), 0.6), estimator="ips")


@pytest.mark.parametrize("freedom", [3, 5, 10, 30, 200])
@pytest.mark.parametrize("share", [0.975, 0.995, 0.9])
def test_quantiles_are_those_of_scipy(freedom: int, share: float) -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")

    assert student_t(share, freedom) == pytest.approx(
        float(stats.t.ppf(share, freedom)), rel=0.03 if freedom < 5 else 2e-3
    )
