"""Experiments and what they have counted, made up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from crew_moe.learning.experiment import Arm, Experiment, Mode, Tally
from crew_moe.learning.experiment.assignment import UNITS
from tests.routing.given import NOW

PLAIN: Final[Mapping[str, Any]] = {
    "name": "try",
    "mode": Mode.AB,
    "share": 0.5,
    "metric": "reward",
    "mde": 0.05,
    "alpha": 0.05,
    "horizon": 2_000,
    "min_samples": 50,
    "margins": {"success": 0.05},
    "salt": "salt",
    "candidate": "strategy: score",
    "candidate_version": "default@1",
    "control_version": "default@0",
    "started_at": NOW,
}


def experiment(**fields: Any) -> Experiment:
    return Experiment(**{**PLAIN, **fields})


def counted(
    control: Mapping[str, NDArray[np.float64]], candidate: Mapping[str, NDArray[np.float64]], *, cohort: str = ""
) -> Tally:
    """A tally of these observations, each of a key of its own."""
    tally, rng = Tally(), np.random.default_rng([0, *cohort.encode()])
    for arm, values in ((Arm.CONTROL, control), (Arm.CANDIDATE, candidate)):
        for row in zip(*values.values(), strict=True):
            one = dict(zip(values, map(float, row), strict=True))
            tally = tally.plus(Tally.one(arm, one, unit=int(rng.integers(UNITS)), cohort=cohort or None))
    return tally


def rate(share: float, count: int) -> NDArray[np.float64]:
    """So many observations, of which this share is 1 and the rest 0, evenly mixed."""
    steps = np.floor(share * np.arange(1, count + 1) + 1e-9)
    return np.diff(steps, prepend=0.0)
