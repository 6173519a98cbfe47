"""A logged decision made again under another policy: what its row must hold for that, and the making.

A row that tells its own choice holds figures of those who were eligible then. Under another policy others may be, so
it also holds what was asked for, and what was known at that moment of everybody: no text, no names of people, and of
experts only what differs from what the catalogue says. Rows that do not have it are too old for this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from operator import itemgetter
from typing import Any, Final

import numpy as np

from crew_moe.domain.access import Demands
from crew_moe.domain.decision import Decision, Infeasible
from crew_moe.domain.digest import digest
from crew_moe.domain.expert import Tier
from crew_moe.domain.features import Features
from crew_moe.domain.insight import insight_of
from crew_moe.domain.money import to_usd
from crew_moe.domain.policy import Policy
from crew_moe.domain.registry import Registry
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.snapshot import Breaker, Circuit, Snapshot
from crew_moe.domain.task import Modality, Risk, TaskType, Urgency
from crew_moe.ports import StrategyContext
from crew_moe.routing.board import Board
from crew_moe.routing.choice import chances_by
from crew_moe.routing.columns import Columns, columns_of
from crew_moe.routing.cost import cost_of, prices_of
from crew_moe.routing.eligibility import Scene
from crew_moe.routing.engine import decide
from crew_moe.routing.experience import Experience
from crew_moe.routing.lane import TIERS
from crew_moe.routing.needs import ASKED_FIELDS, Asked
from crew_moe.routing.ruling import Ruling

UNSHARED: Final = ("max_output_tokens", "parallel", "critical", "seed", "budget_usd")
"""Fields beside those of needs.ASKED that decide, and are neither the text nor who asks."""
NOT_ASKED: Final = frozenset({"tenant", "task", "pin"})  # names are not written down; the pin in force is
_UNSHARED: Final = itemgetter(*UNSHARED)
_USUAL: Final = (None, None, False, None)
_A_MOMENT: Final = timedelta(seconds=1)
MAX_BOARDS: Final = 64


def beside(request: RoutingRequest) -> Asked | None:
    """What the request asks for beside what makes it like others, in the order of UNSHARED; None for no more than a
    budget, which its sizes tell. Taken for every decision, so the usual request keeps nothing alive.
    """
    fields = request.__dict__
    values: Asked = _UNSHARED(fields)
    return None if values[:-1] == _USUAL and fields["profile"] is None else values


def asked_row(asked: Asked, own: Asked | None, budget_nano: float | None) -> dict[str, Any]:
    """What was asked for: shared with others, and of its own. JSON-ready; what was left at its default is left out."""
    given = dict(zip(ASKED_FIELDS, asked, strict=True))
    if own is not None:
        given.update(zip(UNSHARED, own, strict=True))
    elif budget_nano is not None:
        given["budget_usd"] = to_usd(round(budget_nano))
    known = {name: value for name, value in given.items() if name not in NOT_ASKED}
    return {name: _plain(value) for name, value in known.items() if value != RoutingRequest.model_fields[name].default}


def scene_row(scene: Scene) -> dict[str, Any]:
    """What was known: the pin in force, who could not be called and why, and what experience said. JSON-ready."""
    columns, thresholds, cost = scene.columns, scene.policy.thresholds, scene.policy.cost
    shares = dict(zip(columns.providers, scene.provider_share.tolist(), strict=True))
    return {
        "pin": scene.needs.pin,
        "live": scene.live,
        "no_credentials": _absent(columns, scene.callable_here),
        "circuit_open": _absent(columns, scene.closed_circuit),
        "busy": {expert_id: until.isoformat() for expert_id, until in scene.busy.items()},
        "provider_share": {provider: share for provider, share in shares.items() if share},
        "experience": _experience_row(scene),
        "weighing": [thresholds.history_samples, thresholds.learning_prior, cost.usage_samples],
    }


def features_of(row: Mapping[str, Any]) -> Features:
    """The features of a logged decision."""
    raw = dict(row["features"])
    raw["inferred"] = tuple((name, confidence) for name, confidence in raw["inferred"])
    for name, vocabulary in (("task_type", TaskType), ("modality", Modality), ("risk", Risk), ("urgency", Urgency)):
        raw[name] = vocabulary(raw[name])
    return Features(**raw)


def demands_of(row: Mapping[str, Any]) -> Demands:
    """What was demanded of a logged decision beyond its request."""
    told = row.get("demands")
    if not told:
        return Demands()
    return Demands(
        forbidden=frozenset((expert_id, rule) for expert_id, rules in told["forbidden"].items() for rule in rules),
        moderated=told["moderated"],
        local_only=told["local_only"],
        max_tier=None if told["max_tier"] is None else Tier(told["max_tier"]),
    )


def cost_nano(decision: Decision, expert_id: str) -> float:
    """What this expert would have cost for the same question, by the same prediction, in nano-USD."""
    ruling = decision.basis
    if not isinstance(ruling, Ruling):
        return 0.0
    scene, terms = ruling.lane.scene, ruling.terms
    cost = cost_of(prices_of(scene.columns, scene.experience), terms.input_tokens, terms.output_tokens)
    return float(cost[scene.columns.index[expert_id]])


def chances_of(decision: Decision, tenant: str | None) -> dict[str, float]:
    """With which probability each expert would have been taken where this decision was made, by id. Empty where that
    can't be told. `tenant` as for `Bench.decide`.
    """
    ruling = decision.basis
    if not isinstance(ruling, Ruling):
        return {}
    if ruling.group is not None or ruling.seed is None:
        return {decision.expert_id: 1.0}
    lane = ruling.lane
    tier, policy = lane.needs.tier, lane.scene.policy
    context = StrategyContext(
        features=ruling.features,
        policy=policy,
        tier=None if tier is None else TIERS[tier],
        tenant=tenant,
        now=decision.created_at,
        insight=ruling.insight,
    )
    return chances_by(decision.strategy, lane.roster, ruling.field, context, ruling.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A policy over a catalogue, before which logged decisions come again. Boards are kept for rows that know alike."""

    registry: Registry
    policy: Policy
    columns: Columns
    boards: dict[str, Board] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, registry: Registry, policy: Policy) -> Bench:
        return cls(registry=registry, policy=policy, columns=columns_of(registry))

    def weighs_alike(self, row: Mapping[str, Any]) -> bool:
        """Whether this policy weighs experience as that of the row did, or there was none: a row holds the weighed."""
        thresholds, cost = self.policy.thresholds, self.policy.cost
        mine = [thresholds.history_samples, thresholds.learning_prior, cost.usage_samples]
        return not row["scene"]["experience"] or row["scene"]["weighing"] == mine

    def decide(self, row: Mapping[str, Any], demands: Demands, tenant: str | None) -> Decision | Infeasible:
        """The same question again. `tenant` is who asked, as far as it makes a difference.

        Chance falls as it fell then; where none was involved then, by the decision's id. Raises InvalidRequest for a
        question that names what this policy does not have.
        """
        features, scene = features_of(row), row["scene"]
        chance = {} if row.get("seed") is None else {"seed": row["seed"]}
        same = {"task_type": features.task_type, "tenant": tenant, "pin": scene["pin"]}
        return decide(
            RoutingRequest(**{**row["asked"], **chance, **same}),
            self._board(row, features.task_type),
            decision_id=row["decision_id"],
            now=datetime.fromisoformat(row["created_at"]),
            new_seed=lambda: _seed_of(row),
            features=features,
            demands=demands,
            insight=insight_of(row.get("insight")),
        )

    def _board(self, row: Mapping[str, Any], task_type: TaskType) -> Board:
        key = f"{task_type} {row['scene']}"
        found = self.boards.get(key)
        if found is None:
            if len(self.boards) >= MAX_BOARDS:
                self.boards.clear()
            found = self.boards[key] = self._laid_out(row["scene"], datetime.fromisoformat(row["created_at"]))
            found.experiences[task_type] = self._experience(row["scene"]["experience"])
        return found

    def _laid_out(self, scene: Mapping[str, Any], now: datetime) -> Board:
        away = Breaker(state=Circuit.OPEN, until=now + _A_MOMENT)
        return Board(
            registry=self.registry,
            policy=self.policy,
            snapshot=Snapshot(
                taken_at=now,
                breakers={f"expert:{expert_id}": away for expert_id in scene["circuit_open"]},
                provider_share=scene["provider_share"],
                busy={expert_id: datetime.fromisoformat(until) for expert_id, until in scene["busy"].items()},
            ),
            columns=self.columns,
            live=scene["live"],
            without_credentials=frozenset(scene["no_credentials"]),
        )

    def _experience(self, told: Mapping[str, list[float]]) -> Experience:
        count = len(self.columns.ids)
        learned = np.full(count, self.policy.thresholds.learning_prior)
        experience = Experience(
            np.zeros(count), self.columns.reliability.copy(), learned, np.ones(count), np.zeros(count)
        )
        for expert_id, figures in told.items():
            for column, figure in zip(experience, figures, strict=True):
                column[self.columns.index[expert_id]] = figure
        return experience


def _experience_row(scene: Scene) -> dict[str, list[float]]:
    """What was observed of each expert, as it was weighed; those of whom nothing was observed are left out."""
    columns, prior = scene.columns, scene.policy.thresholds.learning_prior
    rows = zip(columns.ids, *(column.tolist() for column in scene.experience), strict=True)
    reliability = columns.reliability.tolist()
    return {
        expert_id: figures
        for index, (expert_id, *figures) in enumerate(rows)
        if figures != [0.0, reliability[index], prior, 1.0, 0.0]
    }


def _absent(columns: Columns, allowed: Any) -> list[str]:
    return [columns.ids[position] for position in np.flatnonzero(~allowed).tolist()]


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, frozenset):
        return sorted(value)
    return value.model_dump() if hasattr(value, "model_dump") else value


def _seed_of(row: Mapping[str, Any]) -> int:
    return int.from_bytes(digest(row["decision_id"], size=8)) >> 2
