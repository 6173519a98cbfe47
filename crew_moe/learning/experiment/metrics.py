"""What experiments measure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Metric(NamedTuple):
    """One figure of a decision. `better` is 1 where more is better, -1 where less is. The arms' means are compared by
    their ratio where it is `relative`, else by their difference; `unit` figures lie in [0, 1]. A `shadow` metric is
    the candidate's prediction minus that of the control, of the same decision.
    """

    name: str
    better: int
    relative: bool = False
    unit: bool = False
    shadow: bool = False


METRICS: Final[Mapping[str, Metric]] = {
    one.name: one
    for one in (
        Metric("reward", 1, unit=True),
        Metric("success", 1, unit=True),
        Metric("quality", 1, unit=True),
        Metric("cost", -1, relative=True),
        Metric("latency", -1, relative=True),
        Metric("violations", -1, unit=True),
        Metric("infeasible", -1, unit=True),
        Metric("agreement", 1, unit=True, shadow=True),
        Metric("predicted_cost", -1, shadow=True),
        Metric("predicted_quality", 1, shadow=True),
    )
}
"""In the order in which a Tally keeps them; more may be added behind the last."""

COMPARED: Final = tuple(name for name, metric in METRICS.items() if not metric.shadow)
MAIN: Final = ("reward", "success", "quality", "cost", "latency")
"""Those that may decide an experiment."""

MARGINS: Final[Mapping[str, float]] = {
    "success": 0.02,
    "violations": 0.01,
    "infeasible": 0.02,
    "cost": 0.25,
    "latency": 0.25,
}
"""By how much the candidate may be worse where an experiment does not say: a share of all decisions, or of what the
control costs and takes.
"""
