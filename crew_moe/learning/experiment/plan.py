"""An experiment as it was started: what is tried on whom, by what it is judged, and when it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.word import Word
from crew_moe.learning.experiment.assignment import Arm, arm_of, key_of, unit_of
from crew_moe.learning.experiment.sequence import TUNED

LEAST_SAMPLES: Final = 50
"""Below so many observations in an arm its mean is not yet near enough to normal for any verdict."""

COHORTS: Final = ("task_type", "modality", "risk", "urgency")
"""Features by which results can be told apart."""


class Mode(Word):
    """In an A/B experiment the candidate decides for its arm; in the shadow it only says what it would have done."""

    AB = "ab"
    SHADOW = "shadow"


class Assignment(NamedTuple):
    """Where one decision stands."""

    arm: Arm
    unit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What is tried. `candidate` is the text of its policy.yaml; routers take part whose own policy has the version
    `control_version`.

    `mde` is the smallest effect worth finding, `horizon` the decisions of both arms that it takes. `margins` say by how
    much the candidate may be worse in a guardrail metric; those that are `required` must hold before it wins, the
    others as far as anything was told of them. `by` names the feature that tells cohorts apart.
    """

    name: str
    mode: Mode
    share: float
    metric: str
    mde: float
    alpha: float
    horizon: int
    min_samples: int
    margins: Mapping[str, float] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    by: str | None = None
    salt: str
    candidate: str
    candidate_version: str
    control_version: str
    started_at: datetime

    def narrowest(self, metric: str) -> float:
        """After how many decisions of both arms the intervals of a metric are narrowest for their variance: late for
        the one that decides, soon for those that tell of harm.
        """
        soon = 4.0 * self.min_samples
        return max(soon, TUNED * self.horizon) if metric == self.metric else soon

    def assign(self, request: RoutingRequest, decision_id: str) -> Assignment:
        """The arm and the unit of a decision: always the same for the same session, run, user or tenant."""
        key, salt = key_of(request, decision_id), self.salt.encode()
        return Assignment(arm_of(key, salt=salt, share=self.share), unit_of(key, salt=salt))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; what `experiment_of` reads."""
        return {
            **asdict(self),
            "mode": self.mode.value,
            "margins": dict(self.margins),
            "required": list(self.required),
            "started_at": self.started_at.isoformat(),
        }


def experiment_of(row: Mapping[str, Any]) -> Experiment:
    """The experiment that `as_dict` wrote. Raises KeyError, TypeError and ValueError for what is none."""
    return Experiment(
        **{
            **row,
            "mode": Mode(row["mode"]),
            "required": tuple(row["required"]),
            "started_at": datetime.fromisoformat(row["started_at"]),
        }
    )
