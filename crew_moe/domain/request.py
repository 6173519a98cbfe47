"""What a caller asks: one routing request, validated where it enters."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, WithJsonSchema

from crew_moe.domain.entry import Entry
from crew_moe.domain.expert import Capability, Tier
from crew_moe.domain.money import MAX_USD, parse_usd
from crew_moe.domain.task import Modality, Risk, TaskType, Urgency

MAX_TEXT_CHARS: Final = 8_000_000
MAX_TOKENS: Final = 100_000_000
MAX_MS: Final = 1e12  # thirty years: sums and means of such times stay finite

USD_SCHEMA: Final = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": int(MAX_USD)},
        {"type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]+)?$"},
    ]
}

Usd = Annotated[Decimal, BeforeValidator(parse_usd), WithJsonSchema(USD_SCHEMA)]
# Strict: YAML reads `yes` as true, and a quality of true would be 1.
Unit = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False, strict=True)]
# JSON knows no difference between 3 and 3.0; what else is no whole number is told.
Whole = BeforeValidator(lambda value: int(value) if isinstance(value, float) and value.is_integer() else value)
Tokens = Annotated[int, Field(ge=0, le=MAX_TOKENS, strict=True), Whole]
MaxTokens = Annotated[int, Field(gt=0, le=MAX_TOKENS, strict=True), Whole]
Milliseconds = Annotated[float, Field(gt=0, le=MAX_MS, allow_inf_nan=False, strict=True)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Parallel(BaseModel):
    """How many experts answer the same task, and how their answers become one (seed 001's hybrid router)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    experts: Annotated[int, Field(ge=2, le=8, strict=True), Whole] = 3
    consensus: Literal["judge", "quality_weighted", "voting", "first_success"] = "judge"


class RoutingRequest(Entry):
    """One question to the router: which expert for this?

    Tokens are counts, latencies milliseconds, money US$. `min_quality` and `max_latency_ms` are hard limits per
    call, `budget_usd` is the ceiling for the whole task, `deadline_ms` its time. `tier` is what is wanted, `max_tier`
    the ceiling for fallback and escalation. Absent `task_type`, `modality`, `risk` and `urgency` are inferred from
    the text. Raises InvalidRequest, which names the field, what is allowed and the closest match.
    """

    task_type: TaskType | None = None
    text: Annotated[str, Field(max_length=MAX_TEXT_CHARS)] = ""
    context_tokens: Tokens = 0
    max_output_tokens: MaxTokens | None = None
    budget_usd: Usd | None = None
    min_quality: Unit | None = None
    max_latency_ms: Milliseconds | None = None
    deadline_ms: Milliseconds | None = None
    tier: Tier | None = None
    max_tier: Tier | None = None
    requires: frozenset[Capability] = frozenset()
    modality: Modality | None = None
    preferred_providers: tuple[Name, ...] = ()
    tenant: Name | None = None
    project: Name | None = None
    user: Name | None = None
    channel: Name | None = None
    run_id: Name | None = None
    task: Name | None = None
    residency: Name | None = None
    pii: Literal["allow", "redact", "local_only", "deny"] = "allow"
    risk: Risk | None = None
    urgency: Urgency | None = None
    session_key: Name | None = None
    strategy: Name | None = None
    profile: Name | None = None
    pin: Name | None = None
    fallbacks: tuple[Name, ...] | None = None
    parallel: Parallel | Literal["auto"] | bool | None = None
    critical: StrictBool = False
    seed: Annotated[int, Field(ge=0, strict=True), Whole] | None = None
