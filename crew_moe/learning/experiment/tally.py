"""What an experiment has counted: sums that add up, in whatever order and by whomever they were counted.

One table of (count, sum, sum of squares) by arm, metric and part. Part 0 is everything, then come the units, into which
keys fall as a whole, then the cohorts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from crew_moe.errors import StateError
from crew_moe.learning.experiment.assignment import UNITS, Arm
from crew_moe.learning.experiment.metrics import METRICS

ARMS: Final = tuple(Arm)
MAX_COHORTS: Final = 64
OTHERS: Final = "others"
"""Cohorts beyond the first MAX_COHORTS, together."""

_METRIC: Final = {name: position for position, name in enumerate(METRICS)}
_ARM: Final = {arm: position for position, arm in enumerate(ARMS)}
_WHOLE: Final = 0
_COHORTS: Final = 1 + UNITS


class Moments(NamedTuple):
    """How many observations, their sum and the sum of their squares."""

    n: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    @property
    def mean(self) -> float:
        """0 where there is nothing."""
        return self.total / self.n if self.n else 0.0

    @property
    def variance(self) -> float:
        """That of one observation, unbiased; 0 of fewer than two."""
        if self.n < 2.0:
            return 0.0
        return max(0.0, (self.squares - self.total * self.mean) / (self.n - 1.0))


def _nothing() -> NDArray[np.float64]:
    return np.zeros((len(ARMS), len(METRICS), _COHORTS, 3))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tally:
    """`cells`: (arms, metrics, 1 + units + cohorts, 3)."""

    cohorts: tuple[str, ...] = ()
    cells: NDArray[np.float64] = field(default_factory=_nothing)

    @classmethod
    def one(
        cls, arm: Arm, values: Mapping[str, float], *, unit: int, cohort: str | None = None, times: float = 1.0
    ) -> Self:
        """One observation of each metric; taken back where `times` is -1."""
        cohorts = () if cohort is None else (cohort,)
        cells = np.zeros((len(ARMS), len(METRICS), _COHORTS + len(cohorts), 3))
        parts = [_WHOLE, 1 + unit, *([_COHORTS] if cohorts else [])]
        for name, value in values.items():
            cells[_ARM[arm], _METRIC[name], parts] = times, times * value, times * value * value
        return cls(cohorts=cohorts, cells=cells)

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        names = list(self.cohorts)
        names += [name for name in other.cohorts if name not in names]
        if len(names) > MAX_COHORTS:
            names = [*[name for name in names if name != OTHERS][: MAX_COHORTS - 1], OTHERS]
        cells = np.zeros((len(ARMS), len(METRICS), _COHORTS + len(names), 3))
        for tally in (self, other):
            cells[:, :, :_COHORTS] += tally.cells[:, :, :_COHORTS]
            for position, name in enumerate(tally.cohorts, _COHORTS):
                where = names.index(name if name in names else OTHERS)
                cells[:, :, _COHORTS + where] += tally.cells[:, :, position]
        return Tally(cohorts=tuple(names), cells=cells)

    def of(self, arm: Arm, metric: str, cohort: str | None = None) -> Moments:
        """What was counted of one metric, of everything or of one cohort."""
        part = _WHOLE if cohort is None else _COHORTS + self.cohorts.index(cohort)
        return Moments(*self.cells[_ARM[arm], _METRIC[metric], part].tolist())

    def units(self, arm: Arm, metric: str) -> NDArray[np.float64]:
        """Counts and sums by unit: (units, 2)."""
        return self.cells[_ARM[arm], _METRIC[metric], 1:_COHORTS, :2]

    @property
    def empty(self) -> bool:
        return not self.cells.any()

    def as_bytes(self) -> bytes:
        """One line that says what stands where, and the numbers as they are."""
        head: dict[str, Any] = {"metrics": list(METRICS), "units": UNITS, "cohorts": list(self.cohorts)}
        return json.dumps(head).encode() + b"\n" + self.cells.astype("<f8").tobytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """What `as_bytes` wrote, also by a version that knew fewer metrics. Raises StateError."""
        head, _, body = content.partition(b"\n")
        try:
            told = json.loads(head)
            cohorts, metrics = tuple(map(str, told["cohorts"])), list(told["metrics"])
            shape = len(ARMS), len(metrics), 1 + int(told["units"]) + len(cohorts), 3
            known = np.frombuffer(body, dtype="<f8").reshape(shape)
            cells = np.zeros((len(ARMS), len(METRICS), _COHORTS + len(cohorts), 3))
            cells[:, [_METRIC[name] for name in metrics]] = known
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StateError("the state holds counts of an experiment that can't be read") from error
        return cls(cohorts=cohorts, cells=cells)
