"""Off-policy evaluation: what a policy would have been worth, from the log of another one.

The log has, of every round, what was chosen, the probability that it had, and what came of it. A candidate is the
probabilities with which it would have chosen in the same rounds. Pure: arrays in, values out; chance is passed in.

    >>> import numpy as np
    >>> rounds = Rounds.of(action=[0, 1] * 50, reward=[0.2, 0.8] * 50, propensity=[0.5] * 100, arms=2)
    >>> always_second = np.tile([0.0, 1.0], (100, 1))
    >>> found = evaluate(rounds, always_second, estimator="snips")
    >>> found.ok, round(found.value, 3)
    (True, 0.8)
    >>> never_chosen = Rounds.of(action=[0] * 100, reward=[0.2] * 100, propensity=[1.0] * 100, arms=2)
    >>> evaluate(never_chosen, always_second, estimator="snips").reason
    <Reason.NO_SUPPORT: 'no_support'>
"""

from __future__ import annotations

from crew_moe.learning.ope.estimators import ESTIMATORS
from crew_moe.learning.ope.evaluation import DEFAULT, WITH_PRIOR, Estimate, Interval, compare, evaluate
from crew_moe.learning.ope.overlap import Demanded, NoOverlap, Overlap, Reason
from crew_moe.learning.ope.reward_model import cross_fitted
from crew_moe.learning.ope.rounds import Rounds

__all__ = [
    "DEFAULT",
    "ESTIMATORS",
    "WITH_PRIOR",
    "Demanded",
    "Estimate",
    "Interval",
    "NoOverlap",
    "Overlap",
    "Reason",
    "Rounds",
    "compare",
    "cross_fitted",
    "evaluate",
]
