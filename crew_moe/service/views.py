"""What the endpoints answer, as the OpenAPI document shows it. Amounts are US$ as decimal strings, times are UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Usd = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?$", examples=["0.005253"])]
Unit = Annotated[float, Field(ge=0, le=1)]


class View(BaseModel):
    """Base of all answers: exactly these fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RejectionView(View):
    expert_id: str
    rule: str
    detail: str
    missed_by: float | None
    also: list[str]


class NearestView(View):
    expert_id: str
    constraint: str
    missed_by: float | None
    detail: str


class GroupView(View):
    experts: list[str]
    judge: str | None
    consensus: str


class DecisionView(View):
    """An expert was found. `selected_services` and `routing_strategy` say the same in seed 004's words."""

    ok: Literal[True]
    decision_id: str
    expert_id: str
    profile_id: str
    tier: str
    fallbacks: list[str]
    estimated_cost_usd: Usd
    score: float
    confidence: Unit
    rationale: str
    strategy: str
    propensity: Unit
    task_type: str
    policy_version: str
    registry_digest: str
    created_at: datetime
    selected_services: list[str]
    routing_strategy: str
    factors: dict[str, float] | None = None
    rejections: list[RejectionView] | None = None
    group: GroupView | None = None
    response: Any = None


class InfeasibleView(View):
    """Nobody may serve it: `binding` names the constraint, `nearest` who missed it by least."""

    ok: Literal[False]
    decision_id: str
    binding: str
    nearest: NearestView | None
    message: str
    strategy: str
    task_type: str
    policy_version: str
    registry_digest: str
    created_at: datetime
    selected_services: list[str]
    routing_strategy: str
    rejections: list[RejectionView] | None = None


RouteView = DecisionView | InfeasibleView


class BatchRowView(View):
    """One row of a batch; GET /decisions/{decision_id} tells the rest."""

    ok: bool
    decision_id: str
    expert_id: str | None
    selected_services: list[str]
    estimated_cost_usd: Usd | None
    score: float | None


class BatchView(View):
    batch_id: str | None
    count: int
    results: list[BatchRowView]


class ExpertView(View):
    """One expert of the catalogue; with `fields`, only those and the id."""

    expert_id: str
    provider: str | None = None
    tier: str | None = None
    status: str | None = None
    available: bool | None = None
    reason: str | None = None
    capabilities: list[str] | None = None
    regions: list[str] | None = None
    moderated: bool | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    input_usd_per_mtok: Usd | None = None
    output_usd_per_mtok: Usd | None = None
    quality: float | None = None
    latency_ms: float | None = None
    success_rate: float | None = None
    breaker: str | None = None


class ExpertsView(View):
    experts: list[ExpertView]
    next_cursor: str | None
    total: int


class HealthRowView(View):
    """How one expert does; None is 'no record yet'."""

    expert_id: str
    provider: str
    tier: str
    available: bool
    reason: str
    breaker: str
    provider_breaker: str
    samples: float
    success_rate: float | None
    quality: float
    latency_ms: float
    cost_usd: float | None
    input_usd_per_mtok: Usd
    output_usd_per_mtok: Usd


class HealthView(View):
    """`status` is ok when some expert can be called, else degraded."""

    status: Literal["ok", "degraded"]
    state: Literal["ok", "lost"]
    experts: list[HealthRowView]


class ExplanationView(View):
    """A decision told again. `decision` is its row of the log, `matches` whether working it out anew gave the same."""

    decision_id: str
    rationale: str
    decision: dict[str, Any]
    recomputed: dict[str, Any] | None
    matches: bool | None
    served: list[dict[str, Any]]
    served_by: str | None


class RecordedView(View):
    """`recorded` is false where it was known already: nothing is counted twice."""

    recorded: bool


class OverrideView(View):
    """An override in force: which requests it binds, to what, and until when."""

    expert_id: str | None
    strategy: str | None
    task_type: str | None
    task: str | None
    tenant: str | None
    reason: str
    by: str
    created_at: datetime
    expires_at: datetime | None


class ClearedView(View):
    removed: int


class StatsView(View):
    policy_version: str
    registry_digest: str
    experts: int
    calls: dict[str, float]
    provider_share: dict[str, float]
    open_breakers: list[str]
    without_room: dict[str, str]
    pins: list[dict[str, Any]]
    state_lost: bool
    log_dropped: int
    metrics: dict[str, Any] | None


class ServiceView(View):
    """A registered service."""

    service_id: str
    service_type: str
    endpoint: str
    capabilities: list[str]
    max_capacity: int
    health_url: str | None
    protocol: str
    tenant: str | None
    weight: float
    model: str
    tier: str
    quality: float
    latency_ms: float
    context_window: int
    max_output_tokens: int
    regions: list[str]
    input_usd_per_mtok: Usd
    output_usd_per_mtok: Usd
    registered_at: datetime
    registered_by: str


class ServiceStatusView(ServiceView):
    """A service and how it does; `under_way` counts the calls of this process."""

    available: bool
    reason: str
    breaker: str
    under_way: int
    calls: float
    success_rate: float | None
    observed_latency_ms: float


class ServicesView(View):
    services: list[ServiceStatusView]


class RebalanceView(View):
    """Weights before and after, and the evenness of the load (Jain's index: 1 is even)."""

    service_type: str
    tenant: str | None
    before: dict[str, float]
    after: dict[str, float]
    score_before: float
    score_after: float
    healthy: dict[str, bool]


class RebalancesView(View):
    rebalanced: list[RebalanceView]


class DemoRowView(View):
    """What one strategy chose for one kind of request."""

    request_type: str
    strategy: str
    expert_id: str | None
    tier: str | None
    estimated_cost_usd: Usd | None
    rationale: str


class DemoView(View):
    complexity: str
    strategies: list[str]
    comparison: list[DemoRowView]


class AliveView(View):
    status: Literal["ok"]


class ReadyView(View):
    status: Literal["ready", "not_ready"]
