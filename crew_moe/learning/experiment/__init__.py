"""Experiments on policies: who is in which arm, how many it takes, and what may be said at any moment. Pure."""

from __future__ import annotations

from crew_moe.learning.experiment.adjusting import adjusted
from crew_moe.learning.experiment.assignment import Arm, arm_of, key_of, unit_of
from crew_moe.learning.experiment.metrics import METRICS, Metric
from crew_moe.learning.experiment.plan import Experiment, Mode, experiment_of
from crew_moe.learning.experiment.power import detectable, samples_needed
from crew_moe.learning.experiment.sequence import Interval, half_width, interval, p_value
from crew_moe.learning.experiment.standing import Standing, Verdict, standing, verdict_on
from crew_moe.learning.experiment.tally import Moments, Tally
from crew_moe.learning.experiment.wanted import Wanted

__all__ = [
    "METRICS",
    "Arm",
    "Experiment",
    "Interval",
    "Metric",
    "Mode",
    "Moments",
    "Standing",
    "Tally",
    "Verdict",
    "Wanted",
    "adjusted",
    "arm_of",
    "detectable",
    "experiment_of",
    "half_width",
    "interval",
    "key_of",
    "p_value",
    "samples_needed",
    "standing",
    "unit_of",
    "verdict_on",
]
