"""A policy: the versioned strategy, weights, thresholds and preferences by which requests are routed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any, Final

from crew_moe.domain.access import AccessRule, PolicyText
from crew_moe.domain.budget import BudgetPolicy
from crew_moe.domain.expert import Tier
from crew_moe.domain.screening import ScreeningPolicy
from crew_moe.domain.task import Risk, TaskPreference, TaskType, Urgency


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Maxima of the seven factors in points (seed 001); their sum is scaled to 100."""

    quality: float
    cost: float
    history: float
    learning: float
    preference: float
    diversity: float
    provider: float

    @property
    def total(self) -> float:
        return (
            self.quality + self.cost + self.history + self.learning + self.preference + self.diversity + self.provider
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Where judgements turn.

    `history_samples`: observed calls that weigh as much as an expert's assumed reliability. `learning_prior`: the
    learned weight before any feedback. `tight_budget_usd`: at or below it the task type's budget experts are the
    preferred ones. `long_context_tokens`: input size from which a request needs the long_context capability.
    `min_confidence`: below it the rationale says that the choice is close.
    """

    history_samples: float
    learning_prior: float
    tight_budget_usd: Decimal
    long_context_tokens: int
    min_confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TierPolicy:
    """Per tier: how long one attempt may take, in ms, when the request sets no latency of its own."""

    attempt_timeout_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskPolicy:
    """What a risk class demands of an expert."""

    moderated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CostPolicy:
    """How cost is predicted and scored.

    `reference_usd_per_mtok`: the blended price at which an expert earns half the cost points. `spread`: relative
    half-width of the predicted range. `overhead_tokens`: prompt scaffolding added to every call.
    `usage_samples`: how many observed calls weigh as much as the multiplier.
    """

    reference_usd_per_mtok: float
    spread: float
    overhead_tokens: int
    usage_samples: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Caps on attempts: per call, on waiting for a `Retry-After`, and for room at providers (ms)."""

    max_attempts: int
    fallbacks: int
    fallback_margin: float
    max_retry_after_ms: float
    max_queue_ms: float
    default_max_output_tokens: int
    min_output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """Circuit breakers (seed 001; vocabulary of Envoy): consecutive failures, ejection times in ms, probes."""

    failures: int
    ejection_ms: float
    max_ejection_ms: float
    backoff: float
    probes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelPolicy:
    """When `parallel: auto` asks several experts (seed 001's triggers), and how many."""

    experts: int
    min_quality: float
    min_budget_usd: Decimal
    consensus: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """With probability `rate` a deterministic pick is replaced by a uniform one among the eligible experts."""

    rate: float = 0.0
    within: str = "eligible"


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Conditions of a rule; all that are set must hold. Bounds are inclusive."""

    task_types: frozenset[TaskType] = frozenset()
    tiers: frozenset[Tier] = frozenset()
    risks: frozenset[Risk] = frozenset()
    urgencies: frozenset[Urgency] = frozenset()
    scripts: frozenset[str] = frozenset()
    tenants: frozenset[str] = frozenset()
    min_input_tokens: int | None = None
    max_input_tokens: int | None = None
    has_code: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`rule` strategy: the first rule that matches names its experts, best first."""

    name: str
    when: Match
    use: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A versioned bundle around one expert (seed 002): decoding, context, budget and SLO promise.

    `context_window` and `max_output_tokens` narrow the expert's own; `max_latency_ms` and `budget_usd` join the
    request's limits. `quantization`, `retrieval` and `reranker` are carried to whoever hosts the expert.
    """

    profile_id: str
    version: str
    expert_id: str
    quantization: str | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    retrieval: bool = False
    reranker: bool = False
    budget_usd: Decimal | None = None
    max_latency_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardFactor:
    """A factor of one's own: a function, named by module (`module:function`) or as an installed entry point."""

    name: str
    weight: float
    python: str | None = None
    entry_point: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardPolicy:
    """What a reward is made of (seed 001, seed 002): weights of what came of an answer, in [0, 1] each, and of the
    penalties for latency and cost. A latency of `latency_scale_ms` and a cost of `cost_scale_usd` cost their weight
    whole.
    """

    outcome: float = 1.0
    quality: float = 1.0
    latency: float = 0.0
    cost: float = 0.0
    latency_scale_ms: float = 10_000.0
    cost_scale_usd: Decimal = Decimal("0.01")
    factors: tuple[RewardFactor, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BanditPolicy:
    """How bandits explore and forget.

    `alpha`: how many widths LinUCB is hopeful by; Thompson's draws, of which `draws` make up the shares, stay within
    that. `epsilon`: share of uniform picks. `gamma`: how sharply squarecb prefers. `ridge`: the prior's precision.
    `half_life`: after so many observations, of all arms together, an older one counts half; None: never forget.
    """

    alpha: float = 0.95
    epsilon: float = 0.05
    gamma: float = 300.0
    draws: int = 256
    ridge: float = 1.0
    half_life: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Horizon:
    """What may be spent over so many decisions."""

    usd: Decimal
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineShare:
    """An expert that keeps at least this share of the decisions for which it is eligible."""

    expert_id: str
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningPolicy:
    """What is learned, from what, and how far one voice reaches.

    `model`: the file of a quality model. `client_cap`: how many observations' worth one source of feedback may move an
    expert's weight at a task type. `preference_samples`: how many judgements of one user weigh as much as everybody's;
    None: nothing is learned per user.
    """

    model: str | None = None
    reward: RewardPolicy = RewardPolicy()
    bandit: BanditPolicy = BanditPolicy()
    horizon: Horizon | None = None
    baseline: BaselineShare | None = None
    client_cap: float = 5.0
    preference_samples: float | None = None


NO_BUDGETS: Final = BudgetPolicy()
NO_SCREENING: Final = ScreeningPolicy()
LEARNING: Final = LearningPolicy()


@dataclass(frozen=True, kw_only=True)
class Policy:
    """One versioned policy; `version` is its name and a digest of its content.

    `access` and `cedar` are two ways to say who may use which experts; an expert must pass both.
    """

    name: str
    version: str
    strategy: str
    weights: Weights
    thresholds: Thresholds
    tiers: Mapping[Tier, TierPolicy]
    risks: Mapping[Risk, RiskPolicy]
    cost: CostPolicy
    limits: Limits
    breaker: BreakerPolicy
    parallel: ParallelPolicy
    exploration: Exploration
    tasks: Mapping[TaskType, TaskPreference]
    rules: tuple[Rule, ...] = ()
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    access: tuple[AccessRule, ...] = ()
    cedar: tuple[PolicyText, ...] = ()
    budgets: BudgetPolicy = NO_BUDGETS
    screening: ScreeningPolicy = NO_SCREENING
    gate: Mapping[str, Any] = field(default_factory=dict)
    learning: LearningPolicy = LEARNING

    @cached_property
    def tight_budget_usd(self) -> float:
        """The threshold of money that is short, as the float that budgets are compared with."""
        return float(self.thresholds.tight_budget_usd)
