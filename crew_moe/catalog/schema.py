"""What experts.yaml and policy.yaml may hold, as pydantic models, from which editors get their JSON Schemas."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crew_moe.domain.expert import Capability, Parameter, Status, Tier, Transport
from crew_moe.domain.request import Name, Unit, Usd
from crew_moe.domain.task import Risk, TaskType, Urgency

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]
Sentence = Annotated[str, Field(min_length=1, max_length=2000)]
# The name of a variable, so that a key which somebody wrote there by mistake is refused and shown nowhere.
VariableName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$", max_length=100)]


class Entry(BaseModel):
    """Strict, frozen base of every configuration model."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ProviderEntry(Entry):
    """Defaults for all experts of one provider."""

    base_url: str | None = None
    base_url_env: VariableName | None = None
    api_key_env: VariableName | None = None
    regions: list[Name] = []
    moderated: bool = False
    parameters: list[Parameter] = list(Parameter)
    transport: Transport = Transport.OPENAI


class ExpertEntry(Entry):
    """One expert; what it leaves out comes from its provider."""

    provider: Name
    provider_model: Name
    tier: Tier
    quality: Unit
    input_usd_per_mtok: Usd
    output_usd_per_mtok: Usd
    context_window: Count
    max_output_tokens: Count
    latency_p50_ms: Positive
    capabilities: list[Capability]
    source: Sentence
    checked_on: date
    enabled: bool = True
    status: Status = Status.ACTIVE
    base_url: str | None = None
    base_url_env: VariableName | None = None
    api_key_env: VariableName | None = None
    regions: list[Name] | None = None
    moderated: bool | None = None
    parameters: list[Parameter] | None = None
    transport: Transport | None = None
    fallback: Name | None = None
    reliability: Unit = 0.9
    named_only: bool = False
    note: str = ""


class ExpertsFile(Entry):
    """experts.yaml."""

    providers: dict[str, ProviderEntry]
    experts: dict[str, ExpertEntry]


class WeightsEntry(Entry):
    quality: NotNegative
    cost: NotNegative
    history: NotNegative
    learning: NotNegative
    preference: NotNegative
    diversity: NotNegative
    provider: NotNegative


class ThresholdsEntry(Entry):
    history_samples: Positive
    learning_prior: Unit
    tight_budget_usd: Usd
    long_context_tokens: Count
    min_confidence: Unit


class TierEntry(Entry):
    attempt_timeout_ms: Positive


class RiskEntry(Entry):
    moderated: bool = False


class CostEntry(Entry):
    reference_usd_per_mtok: Positive
    spread: Annotated[float, Field(ge=0, lt=1)]
    overhead_tokens: Annotated[int, Field(ge=0)]
    usage_samples: Positive


class LimitsEntry(Entry):
    max_attempts: Annotated[int, Field(ge=1, le=20)]
    fallbacks: Annotated[int, Field(ge=0, le=10)]
    fallback_margin: NotNegative
    max_retry_after_ms: NotNegative
    default_max_output_tokens: Count
    min_output_tokens: Count


class BreakerEntry(Entry):
    failures: Count
    ejection_ms: Positive
    max_ejection_ms: Positive
    backoff: Annotated[float, Field(ge=1, le=10)]
    probes: Count


class ParallelEntry(Entry):
    experts: Annotated[int, Field(ge=2, le=8)]
    min_quality: Unit
    min_budget_usd: Usd
    consensus: Literal["judge", "quality_weighted", "voting", "first_success"]


class ExplorationEntry(Entry):
    rate: Unit = 0.0
    within: Literal["eligible"] = "eligible"


class TaskEntry(Entry):
    preferred: list[Name]
    budget: list[Name]
    requires: list[Capability] = []
    output_multiplier: Positive
    min_output_tokens: Count
    max_output_tokens: Count
    critical: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_output_tokens > self.max_output_tokens:
            raise ValueError("min_output_tokens is more than max_output_tokens")
        return self


class MatchEntry(Entry):
    task_types: list[TaskType] = []
    tiers: list[Tier] = []
    risks: list[Risk] = []
    urgencies: list[Urgency] = []
    scripts: list[Name] = []
    tenants: list[Name] = []
    min_input_tokens: Annotated[int, Field(ge=0)] | None = None
    max_input_tokens: Annotated[int, Field(ge=0)] | None = None
    has_code: bool | None = None


class RuleEntry(Entry):
    name: Name
    when: MatchEntry = MatchEntry()
    use: Annotated[list[Name], Field(min_length=1)]


class ProfileEntry(Entry):
    version: Name
    expert: Name
    quantization: str | None = None
    context_window: Count | None = None
    max_output_tokens: Count | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    retrieval: bool = False
    reranker: bool = False
    budget_usd: Usd | None = None
    max_latency_ms: Positive | None = None


class PolicyFile(Entry):
    """policy.yaml."""

    name: Name
    strategy: Name
    weights: WeightsEntry
    thresholds: ThresholdsEntry
    tiers: dict[Tier, TierEntry]
    risks: dict[Risk, RiskEntry]
    cost: CostEntry
    limits: LimitsEntry
    breaker: BreakerEntry
    parallel: ParallelEntry
    exploration: ExplorationEntry = ExplorationEntry()
    tasks: dict[TaskType, TaskEntry]
    rules: list[RuleEntry] = []
    profiles: dict[str, ProfileEntry] = {}
