"""What the tools answer: small models whose fields are always there, so that a client can rely on their schemas.

Amounts are US$, as strings of decimal digits; rates, quality and confidence lie in [0, 1]; latencies are milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict

from crew_moe.domain.budget import ScopeStatus
from crew_moe.domain.decision import Decision, Infeasible
from crew_moe.domain.snapshot import Pin
from crew_moe.explanation import Explanation
from crew_moe.routing.reports import ExpertHealth
from crew_moe.simulation import PolicyTrial

if TYPE_CHECKING:
    from crew_moe.crew.crew_run import CrewRun

VERSION: Final = "1"


class Part(BaseModel):
    """A piece of an answer."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)


class Answer(Part):
    """`schema_version` changes when a field changes its meaning or goes; a new field does not change it."""

    schema_version: Literal["1"] = VERSION


class Suggestion(Answer):
    """Where `ok` is false nobody may serve: `binding` names the constraint, `nearest` who missed it by least, and the
    rationale by how much.
    """

    ok: bool
    decision_id: str
    expert_id: str | None
    fallbacks: tuple[str, ...]
    tier: str | None
    task_type: str
    estimated_cost_usd: str | None
    score: float | None
    confidence: float | None
    rationale: str
    binding: str | None
    nearest: str | None

    @classmethod
    def of(cls, decided: Decision | Infeasible) -> Self:
        return cls(**(_decided(decided) if isinstance(decided, Decision) else _refused(decided)))


def _decided(decision: Decision) -> dict[str, Any]:
    return {
        "ok": True,
        "decision_id": decision.decision_id,
        "expert_id": decision.expert_id,
        "fallbacks": decision.fallbacks,
        "tier": decision.tier,
        "task_type": decision.features.task_type,
        "estimated_cost_usd": str(decision.estimated_cost_usd),
        "score": decision.score,
        "confidence": decision.confidence,
        "rationale": decision.rationale,
        "binding": None,
        "nearest": None,
    }


def _refused(infeasible: Infeasible) -> dict[str, Any]:
    return {
        "ok": False,
        "decision_id": infeasible.decision_id,
        "expert_id": None,
        "fallbacks": (),
        "tier": None,
        "task_type": infeasible.features.task_type,
        "estimated_cost_usd": None,
        "score": None,
        "confidence": None,
        "rationale": infeasible.message,
        "binding": infeasible.binding,
        "nearest": None if infeasible.nearest is None else infeasible.nearest.expert_id,
    }


class Experts(Answer):
    """Rows with the fields that were asked for; `next_cursor` is null on the last page."""

    experts: tuple[dict[str, Any], ...]
    next_cursor: str | None
    total: int


class Health(Part):
    """`latency_ms` is the average; `cost_usd` the average of a call, `*_usd_per_mtok` what tokens cost. Null: no call
    recorded yet.
    """

    expert_id: str
    available: bool
    reason: str
    breaker: str
    samples: float
    success_rate: float | None
    quality: float
    latency_ms: float
    cost_usd: float | None
    input_usd_per_mtok: str
    output_usd_per_mtok: str

    @classmethod
    def of(cls, row: ExpertHealth) -> Self:
        told = row.as_dict()
        return cls(**{name: told[name] for name in cls.model_fields})


class HealthReport(Answer):
    experts: tuple[Health, ...]
    next_cursor: str | None
    total: int


class Served(Part):
    expert_id: str
    success: bool
    error: str | None


class Rejected(Part):
    expert_id: str
    rule: str
    detail: str


class Told(Answer):
    """`matches`: the choice, worked out again from its record, is the recorded one; null where that can't be done."""

    decision_id: str
    ok: bool
    expert_id: str | None
    rationale: str
    score: float | None
    propensity: float | None
    factors: dict[str, float]
    rejections: tuple[Rejected, ...]
    matches: bool | None
    served_by: str | None
    served: tuple[Served, ...]

    @classmethod
    def of(cls, explanation: Explanation) -> Self:
        row = explanation.row
        return cls(
            decision_id=explanation.decision_id,
            ok=row["ok"],
            expert_id=row.get("expert_id"),
            rationale=explanation.rationale,
            score=row.get("score"),
            propensity=row.get("propensity"),
            factors=row.get("factors") or {},
            rejections=tuple(
                Rejected(**{name: one[name] for name in Rejected.model_fields}) for one in row.get("rejections", ())
            ),
            matches=explanation.matches,
            served_by=explanation.served_by,
            served=tuple(Served(**{name: one.get(name) for name in Served.model_fields}) for one in explanation.served),
        )


class Moved(Part):
    """Null: nobody."""

    before: str | None
    after: str | None
    count: int


class Trial(Answer):
    """What logged decisions would be under another policy; nothing is said of quality. `undecided` are those that can't
    be made again, by the reason.
    """

    seen: int
    decided: int
    changed: int
    moves: tuple[Moved, ...]
    expected_usd_before: str
    expected_usd_after: str
    undecided: dict[str, int]
    left_alone: tuple[str, ...]

    @classmethod
    def of(cls, trial: PolicyTrial) -> Self:
        told = trial.as_dict()
        undecided = {one.reason.value: one.count for one in trial.not_decidable}
        return cls(**{name: told[name] for name in cls.model_fields if name in told}, undecided=undecided)


class ScopeBudget(Part):
    """Null limits and what is available under them: the scope is not capped."""

    scope: str
    limit_usd: str | None
    settled_usd: str
    reserved_usd: str
    available_usd: str | None
    ends_at: str | None
    blocked: bool

    @classmethod
    def of(cls, status: ScopeStatus) -> Self:
        told = status.as_dict()
        return cls(**{name: told[name] for name in cls.model_fields})


class Budget(Answer):
    scopes: tuple[ScopeBudget, ...]


class Recorded(Answer):
    """False: this attempt of this decision was recorded before."""

    recorded: bool


class OverrideSet(Answer):
    expert_id: str
    tenant: str | None
    expires_at: str | None

    @classmethod
    def of(cls, pin: Pin) -> Self:
        return cls(
            expert_id=pin.expert_id,
            tenant=pin.tenant,
            expires_at=pin.expires_at.isoformat() if pin.expires_at else None,
        )


class OverridesCleared(Answer):
    removed: int


class CrewTask(Part):
    task: str
    expert_id: str | None
    cost_usd: str


class CrewResult(Answer):
    """`end` says how the run ended; where it is not finished, `error` says why and `output` is null."""

    ok: bool
    run_id: str
    end: str
    output: str | None
    error: str | None
    cost_usd: str
    tasks: tuple[CrewTask, ...]

    @classmethod
    def of(cls, run: CrewRun) -> Self:
        told = run.as_dict()
        return cls(
            **{name: told[name] for name in cls.model_fields if name in told and name != "tasks"},
            tasks=tuple(
                CrewTask(task=row.task, expert_id=row.expert_id, cost_usd=f"{row.cost_usd:f}") for row in run.tasks
            ),
        )
