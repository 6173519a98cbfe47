"""The record of a batch: one row of columns, from which every decision in it can be worked out again.

It holds sizes, lanes and results, and no request, so that no text outlives the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np

from crew_moe.domain.decision import Decision, Infeasible
from crew_moe.routing.board import Board
from crew_moe.routing.columns import Bools, Floats, Ints
from crew_moe.routing.lane import Lane
from crew_moe.routing.needs import Asked
from crew_moe.routing.record import SCHEMA_VERSION, LogEntry, demands_row, figures_row

NOBODY: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """One entry a request: registry position (-1: infeasible), points 0-100, expected cost in nano-USD, propensity."""

    position: Ints
    score: Floats
    cost_nano: Floats
    propensity: Floats

    @property
    def ok(self) -> Bools:
        return self.position >= 0


class BatchRecord:
    """Filled by decide_batch, then only read. `identity` holds commitments to the names that all its requests share."""

    def __init__(
        self, batch_id: str, board: Board, now: datetime, count: int, identity: Mapping[str, str] | None = None
    ) -> None:
        self._identity = dict(identity or {})
        self.batch_id = batch_id
        self.expert_ids = board.columns.ids
        self._registry_digest = board.columns.digest
        self._policy_version = board.policy.version
        self._now = now
        self._lanes: list[Lane] = []
        self._lane_of = np.full(count, NOBODY, dtype=np.int64)
        self._sizes = np.zeros((3, count))  # input tokens, output tokens, budget in nano-USD
        self._single: dict[int, LogEntry] = {}
        self.results = Results(
            position=np.full(count, NOBODY, dtype=np.int64),
            score=np.zeros(count),
            cost_nano=np.zeros(count),
            propensity=np.zeros(count),
        )

    def place(self, lane: Lane) -> int:
        """Take a lane in; its number."""
        self._lanes.append(lane)
        return len(self._lanes) - 1

    def size(self, index: Ints, lane: int, inputs: Floats, outputs: Floats, budgets: Floats) -> None:
        self._lane_of[index] = lane
        self._sizes[:, index] = (inputs, outputs, budgets)

    def fill(self, index: Ints, ok: Bools, position: Ints, score: Floats, cost_nano: Floats) -> None:
        results = self.results
        results.position[index] = np.where(ok, position, NOBODY)
        results.score[index] = np.where(ok, score, 0.0)
        results.cost_nano[index] = np.where(ok, cost_nano, 0.0)
        results.propensity[index] = np.where(ok, 1.0, 0.0)

    def note(self, row: int, answer: Decision | Infeasible, own: Asked | None) -> None:
        """Take in a row that was decided by itself; `own` is what it asked for beside what others did."""
        self._single[row] = LogEntry(answer, b"", (), b"", own)
        if isinstance(answer, Decision):
            self.results.position[row] = self.expert_ids.index(answer.expert_id)
            self.results.score[row] = answer.score
            self.results.cost_nano[row] = answer.basis.expected_nano
            self.results.propensity[row] = answer.propensity

    def row(self) -> dict[str, Any]:
        """The JSON-ready row of the whole batch."""
        results = self.results
        inputs, outputs, budgets = self._sizes
        return {
            "kind": "batch",
            "schema_version": SCHEMA_VERSION,
            "decision_id": self.batch_id,
            "policy_version": self._policy_version,
            "registry_digest": self._registry_digest,
            "created_at": self._now.isoformat(),
            "experts": list(self.expert_ids),
            "lanes": [_lane_row(lane) for lane in self._lanes],
            "lane": self._lane_of.tolist(),
            "input_tokens": inputs.tolist(),
            "output_tokens": outputs.tolist(),
            "budget_nano": [budget if np.isfinite(budget) else None for budget in budgets.tolist()],
            "position": results.position.tolist(),
            "score": results.score.tolist(),
            "propensity": results.propensity.tolist(),
            "identity": self._identity,
            "single": {str(row): entry() for row, entry in self._single.items()},
        }


def row_in_batch(batch: Mapping[str, Any], number: str) -> Mapping[str, Any] | None:
    """One decision out of a batch's row, in the shape of a row of its own; None when there is no such number."""
    if batch.get("kind") != "batch" or not number.isdigit() or int(number) >= len(batch["lane"]):
        return None
    whose = {"identity": batch["identity"]} if batch.get("identity") else {}
    single: Mapping[str, Any] | None = batch["single"].get(number)
    if single is not None:
        return {**single, **whose}
    index = int(number)
    lane, position = batch["lanes"][batch["lane"][index]], batch["position"][index]
    ok = position != NOBODY
    expert_id = batch["experts"][position] if ok else None
    score = batch["score"][index]
    return {
        "kind": "decision",
        **whose,
        "ok": ok,
        "decision_id": f"{batch['decision_id']}.{number}",
        "expert_id": expert_id,
        "score": score,
        "propensity": batch["propensity"][index],
        "strategy": lane["strategy"],
        "group": None,
        "seed": None,
        "reason": "",
        "asked_tier": None,
        "demands": lane.get("demands"),
        "task_type": lane["task_type"],
        "rationale": f"{expert_id} for {lane['task_type']}; {score:.1f}/100; in a batch",
        "message": f"infeasible for {lane['task_type']}; in a batch",
        "sizes": {name: batch[name][index] for name in ("input_tokens", "output_tokens", "budget_nano")},
        "figures": lane["figures"],
        "roster": lane["roster"],
        "policy_version": batch["policy_version"],
        "registry_digest": batch["registry_digest"],
        "created_at": batch["created_at"],
    }


def _lane_row(lane: Lane) -> dict[str, Any]:
    return {
        "task_type": lane.needs.task_type,
        "strategy": "score",
        "demands": demands_row(lane.needs.demands),
        "figures": figures_row(lane.figures),
        "roster": lane.roster._asdict(),
    }
