"""A recorded decision, told again: its row, the same choice worked out anew, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crew_moe.domain.policy import Policy
from crew_moe.routing.record import replay

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """`row` as it was logged; `recomputed` is (expert id, score, propensity) worked out from the row alone.

    `matches` says whether that equals the row bit for bit, None where a row can't decide by itself: nothing was
    feasible, several experts answered, or a strategy read a policy that is no longer loaded. `served` are the attempts
    and outcomes, in order; `served_by` is the expert that answered.
    """

    row: Row
    recomputed: tuple[str, float, float] | None
    matches: bool | None
    served: tuple[Row, ...]

    @property
    def decision_id(self) -> str:
        return str(self.row["decision_id"])

    @property
    def rationale(self) -> str:
        return str(self.row["rationale"] if self.row["ok"] else self.row["message"])

    @property
    def served_by(self) -> str | None:
        return next((row["expert_id"] for row in reversed(self.served) if row["success"]), None)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        recomputed = self.recomputed
        return {
            "decision_id": self.decision_id,
            "rationale": self.rationale,
            "decision": dict(self.row),
            "recomputed": None
            if recomputed is None
            else {"expert_id": recomputed[0], "score": recomputed[1], "propensity": recomputed[2]},
            "matches": self.matches,
            "served": [dict(row) for row in self.served],
            "served_by": self.served_by,
        }


def explain(row: Row, served: Sequence[Row], policy: Policy) -> Explanation:
    """Work the decision of `row` out again and compare."""
    recomputed = replay(row, policy)
    matches = None
    if recomputed is not None:
        matches = recomputed == (row["expert_id"], row["score"], row["propensity"])
    return Explanation(row=row, recomputed=recomputed, matches=matches, served=tuple(served))
