"""What policy.yaml may hold, as pydantic models, from which editors get their JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crew_moe.catalog.learning_schema import LearningEntry
from crew_moe.domain.budget import OnExhausted, ScopeKind, Window
from crew_moe.domain.expert import Capability, Tier
from crew_moe.domain.request import Name, Unit, Usd
from crew_moe.domain.screening import Action, PiiType
from crew_moe.domain.task import Risk, TaskType, Urgency

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]
Names = Annotated[list[Name], Field(min_length=1)]
ScopePattern = Annotated[str, Field(pattern=rf"^({'|'.join(ScopeKind)}):\S.*$", max_length=250)]


class Entry(BaseModel):
    """Strict, frozen base of every configuration model."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
    max_queue_ms: NotNegative
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


class LimitEntry(Entry):
    """The limit of one scope (`tenant:acme`) or of all of a kind (`run:*`)."""

    usd: Usd
    window: Window = Window.TOTAL
    on_exhausted: OnExhausted | None = None
    warn_at: Unit | None = None


class BudgetsEntry(Entry):
    on_exhausted: OnExhausted = OnExhausted.DOWNGRADE
    warn_at: Unit = 0.8
    limits: dict[ScopePattern, LimitEntry] = {}


class DetectorEntry(Entry):
    """Who looks for a concern. `classifier` is any transformers text classifier in the folder `path`."""

    kind: Literal["built_in", "presidio", "classifier"] = "built_in"
    path: Name | None = None
    bad_labels: list[Name] = []

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.kind == "classifier") is (self.path is None):
            raise ValueError("a classifier needs a path, and nothing else has one")
        return self


class ConcernEntry(Entry):
    action: Action = Action.SKIP
    detectors: Annotated[list[DetectorEntry], Field(min_length=1)] = [DetectorEntry()]


class PiiEntry(ConcernEntry):
    """`types`: which kinds count; names alone, say, may be too common in what a crew works on."""

    types: Annotated[list[PiiType], Field(min_length=1)] = list(PiiType)


class LanguageEntry(Entry):
    """What is done about texts in another language than those `expected`, as ISO 639-1 codes."""

    action: Action = Action.SKIP
    expected: list[Annotated[str, Field(pattern="^[a-z]{2}$")]] = []

    @model_validator(mode="after")
    def _expects(self) -> Self:
        if (self.action is Action.SKIP) is not (not self.expected):
            raise ValueError("an action and the expected languages belong together")
        return self


class ScreeningEntry(Entry):
    """What is done about each concern: a word, or a mapping that names detectors too."""

    pii: Action | PiiEntry = Action.SKIP
    injection: Action | ConcernEntry = Action.SKIP
    toxicity: Action | ConcernEntry = Action.SKIP
    language: LanguageEntry = LanguageEntry()
    restore: bool = True

    @model_validator(mode="after")
    def _redactable(self) -> Self:
        for name in ("injection", "toxicity", "language"):
            entry = getattr(self, name)
            if (entry if isinstance(entry, Action) else entry.action) is Action.REDACT:
                raise ValueError(f"only personal data can be redacted, not {name}")
        return self


class WhoEntry(Entry):
    tenants: Names | None = None
    roles: Names | None = None
    channels: Names | None = None
    workspaces: Names | None = None
    users: Names | None = None


class WhenEntry(Entry):
    risks: Annotated[list[Risk], Field(min_length=1)] | None = None
    residencies: Names | None = None
    task_types: Annotated[list[TaskType], Field(min_length=1)] | None = None


class WhichEntry(Entry):
    ids: Names | None = None
    providers: Names | None = None
    tiers: Annotated[list[Tier], Field(min_length=1)] | None = None
    regions: Names | None = None
    self_hosted: bool | None = None
    moderated: bool | None = None


class AccessEntry(Entry):
    """`forbid: {}` forbids every expert; an empty entry of `unless` would exempt everybody, so there must be none."""

    name: Name
    who: WhoEntry = WhoEntry()
    when: WhenEntry = WhenEntry()
    forbid: WhichEntry | None = None
    only: WhichEntry | None = None
    unless: list[WhoEntry] = []

    @model_validator(mode="after")
    def _bites(self) -> Self:
        if (self.forbid is None) is (self.only is None):
            raise ValueError("a rule has either 'forbid' or 'only'")
        if WhichEntry() == self.only:
            raise ValueError("'only' names no expert, so the rule would forbid nobody")
        if WhoEntry() in self.unless:
            raise ValueError("an entry of 'unless' names nobody, so the rule would hold for nobody")
        return self


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
    access: list[AccessEntry] = []
    profiles: dict[str, ProfileEntry] = {}
    budgets: BudgetsEntry = BudgetsEntry()
    screening: ScreeningEntry = ScreeningEntry()
    gate: dict[str, Any] = {}
    learning: LearningEntry = LearningEntry()
