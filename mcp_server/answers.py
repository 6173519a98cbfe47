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

if TYPE_CHECKING:
    from crew_moe.crew.crew_run import CrewRun

VERSION: Final = "1"


class Part(BaseModel):
    """A piece of an answer."""

    model_config = ConfigDict(frozen=True)


class Answer(Part):
    """`schema_version` changes when a field changes its meaning or goes; a new field does not change it."""

    schema_version: Literal["1"] = VERSION


class Missed(Part):
    expert_id: str
    constraint: str
    missed_by: float | None


class Suggestion(Answer):
    """Where `ok` is false nobody may serve: `binding` names the constraint, `nearest` who missed it by least."""

    ok: bool
    decision_id: str
    expert_id: str | None
    fallbacks: tuple[str, ...]
    tier: str | None
    task_type: str
    estimated_cost_usd: str | None
    score: float | None
    confidence: float | None
    strategy: str
    rationale: str
    binding: str | None
    nearest: Missed | None
    policy_version: str

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
        "strategy": decision.strategy,
        "rationale": decision.rationale,
        "binding": None,
        "nearest": None,
        "policy_version": decision.policy_version,
    }


def _refused(infeasible: Infeasible) -> dict[str, Any]:
    nearest = infeasible.nearest
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
        "strategy": infeasible.strategy,
        "rationale": infeasible.message,
        "binding": infeasible.binding,
        "nearest": None
        if nearest is None
        else Missed(expert_id=nearest.expert_id, constraint=nearest.constraint, missed_by=nearest.missed_by),
        "policy_version": infeasible.policy_version,
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
    provider_breaker: str
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
    cost_usd: str | None


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
    strategy: str
    score: float | None
    propensity: float | None
    factors: dict[str, float]
    rejections: tuple[Rejected, ...]
    matches: bool | None
    served_by: str | None
    served: tuple[Served, ...]
    policy_version: str
    created_at: str

    @classmethod
    def of(cls, explanation: Explanation) -> Self:
        row = explanation.row
        return cls(
            decision_id=explanation.decision_id,
            ok=row["ok"],
            expert_id=row.get("expert_id"),
            rationale=explanation.rationale,
            strategy=row["strategy"],
            score=row.get("score"),
            propensity=row.get("propensity"),
            factors=row.get("factors") or {},
            rejections=tuple(
                Rejected(**{name: one[name] for name in Rejected.model_fields}) for one in row["rejections"]
            ),
            matches=explanation.matches,
            served_by=explanation.served_by,
            served=tuple(Served(**{name: one.get(name) for name in Served.model_fields}) for one in explanation.served),
            policy_version=row["policy_version"],
            created_at=row["created_at"],
        )


class ScopeBudget(Part):
    """Null limits and what is available under them: the scope is not capped."""

    scope: str
    limit_usd: str | None
    settled_usd: str
    reserved_usd: str
    overrun_usd: str
    available_usd: str | None
    window: str
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
    task_type: str | None
    task: str | None
    tenant: str | None
    expires_at: str | None

    @classmethod
    def of(cls, pin: Pin) -> Self:
        return cls(
            expert_id=pin.expert_id,
            task_type=pin.task_type,
            task=pin.task,
            tenant=pin.tenant,
            expires_at=pin.expires_at.isoformat() if pin.expires_at else None,
        )


class OverridesCleared(Answer):
    removed: int


class CrewTask(Part):
    task: str
    expert_id: str | None
    calls: int
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
                CrewTask(task=row.task, expert_id=row.expert_id, calls=row.calls, cost_usd=f"{row.cost_usd:f}")
                for row in run.tasks
            ),
        )
