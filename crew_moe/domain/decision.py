"""What the router answers: a Decision, or an Infeasible that says what stood in the way.

A Decision is small when it is made; what explains it (factors, fallbacks, rejections, rationale) is derived from
its `basis` when somebody reads it. The basis is frozen, so that every reading gives the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Protocol

from crew_moe.domain.features import Features


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An eligible expert as a strategy sees it. `ranking` orders (higher first); `score` is 0-100; cost in US$."""

    expert_id: str
    provider: str
    tier: str
    score: float
    ranking: float
    quality: float
    cost_usd: float
    latency_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """A strategy's choice, with the probability that it had of being chosen."""

    expert_id: str
    propensity: float
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why an expert may not serve: the first rule that it fails, and the others that it fails `also`.

    `missed_by` is in the rule's own unit, None where the rule knows no degrees.
    """

    expert_id: str
    rule: str
    detail: str
    missed_by: float | None = None
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """The expert that missed by least, the constraint it missed and by how much (in that constraint's unit)."""

    expert_id: str
    constraint: str
    missed_by: float | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRange:
    """Predicted cost of one call, in US$."""

    min_usd: Decimal
    expected_usd: Decimal
    max_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Experts that answer the same task side by side, and the judge that reads their answers."""

    experts: tuple[str, ...]
    judge: str | None
    consensus: str
    reason: str


class Basis(Protocol):
    """What a decision was made from; each reading is pure and repeatable."""

    @property
    def features(self) -> Features: ...
    @property
    def policy_version(self) -> str: ...
    @property
    def registry_digest(self) -> str: ...
    @property
    def profile_id(self) -> str: ...
    @property
    def tier(self) -> str: ...
    @property
    def confidence(self) -> float: ...
    @property
    def expected_nano(self) -> float: ...
    @property
    def cost(self) -> CostRange: ...
    @property
    def fallbacks(self) -> tuple[str, ...]: ...
    @property
    def factors(self) -> Mapping[str, float]: ...
    @property
    def rejections(self) -> tuple[Rejection, ...]: ...
    @property
    def candidates(self) -> Sequence[Candidate]: ...
    @property
    def rationale(self) -> str: ...
    @property
    def group(self) -> Group | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The expert for one request. `score` 0-100, `confidence` 0-1, costs in US$; `factors` add up to `score`."""

    ok: ClassVar[bool] = True

    decision_id: str
    expert_id: str
    score: float
    strategy: str
    propensity: float
    created_at: datetime
    basis: Basis = field(repr=False)

    @property
    def profile_id(self) -> str:
        return self.basis.profile_id

    @property
    def tier(self) -> str:
        return self.basis.tier

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """Who is tried next, in order; other providers first where scores allow."""
        return self.basis.fallbacks

    @property
    def cost(self) -> CostRange:
        return self.basis.cost

    @property
    def estimated_cost_usd(self) -> Decimal:
        return self.basis.cost.expected_usd

    @property
    def confidence(self) -> float:
        return self.basis.confidence

    @property
    def rationale(self) -> str:
        return self.basis.rationale

    @property
    def factors(self) -> Mapping[str, float]:
        """Points by factor name (seed 001's seven), scaled to 100 in all."""
        return self.basis.factors

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        return self.basis.rejections

    @property
    def candidates(self) -> Sequence[Candidate]:
        return self.basis.candidates

    @property
    def features(self) -> Features:
        return self.basis.features

    @property
    def group(self) -> Group | None:
        """The experts and the judge when the request asked for `parallel`, else None."""
        return self.basis.group

    @property
    def policy_version(self) -> str:
        return self.basis.policy_version

    @property
    def registry_digest(self) -> str:
        return self.basis.registry_digest

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; Decimals as strings."""
        group = self.group
        return {
            "ok": True,
            "decision_id": self.decision_id,
            "expert_id": self.expert_id,
            "profile_id": self.profile_id,
            "tier": self.tier,
            "fallbacks": list(self.fallbacks),
            "estimated_cost_usd": f"{self.estimated_cost_usd:f}",
            "score": self.score,
            "confidence": self.confidence,
            "rationale": self.rationale,
            "factors": dict(self.factors),
            "rejections": [_rejection_dict(rejection) for rejection in self.rejections],
            "strategy": self.strategy,
            "propensity": self.propensity,
            "group": None
            if group is None
            else {"experts": list(group.experts), "judge": group.judge, "consensus": group.consensus},
            "task_type": self.features.task_type.value,
            "policy_version": self.policy_version,
            "registry_digest": self.registry_digest,
            "created_at": self.created_at.isoformat(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Infeasible:
    """No expert may serve the request. `binding` names the constraint, `nearest` who missed it by least; `basis` is
    what that was made from, None where nobody was judged.
    """

    ok: ClassVar[bool] = False

    decision_id: str
    binding: str
    nearest: Nearest | None
    message: str
    rejections: tuple[Rejection, ...]
    features: Features
    strategy: str
    created_at: datetime
    policy_version: str
    registry_digest: str
    basis: object | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return self.message

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        nearest = self.nearest
        return {
            "ok": False,
            "decision_id": self.decision_id,
            "binding": self.binding,
            "nearest": None
            if nearest is None
            else {
                "expert_id": nearest.expert_id,
                "constraint": nearest.constraint,
                "missed_by": nearest.missed_by,
                "detail": nearest.detail,
            },
            "message": self.message,
            "rejections": [_rejection_dict(rejection) for rejection in self.rejections],
            "strategy": self.strategy,
            "task_type": self.features.task_type.value,
            "policy_version": self.policy_version,
            "registry_digest": self.registry_digest,
            "created_at": self.created_at.isoformat(),
        }


def _rejection_dict(rejection: Rejection) -> dict[str, Any]:
    return {
        "expert_id": rejection.expert_id,
        "rule": rejection.rule,
        "detail": rejection.detail,
        "missed_by": rejection.missed_by,
        "also": list(rejection.also),
    }
