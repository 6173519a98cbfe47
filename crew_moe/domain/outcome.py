"""What happened: attempts, outcomes and feedback."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, StrictBool

from crew_moe.domain.entry import Entry
from crew_moe.domain.request import MAX_MS, Name, Tokens, Unit, Usd, Whole
from crew_moe.domain.usage import Usage
from crew_moe.domain.word import Word


class ErrorClass(Word):
    """Why an attempt failed; each class has one row in the executor's table of what to do next."""

    TIMEOUT = "timeout"
    RATE_LIMIT = "rate_limit"
    AUTH = "auth"
    NOT_FOUND = "not_found"
    BAD_REQUEST = "bad_request"
    SERVER = "server"
    CONNECTION = "connection"
    MALFORMED = "malformed"
    REFUSED = "refused"
    CONTEXT_OVERFLOW = "context_overflow"
    CIRCUIT_OPEN = "circuit_open"
    SKIPPED = "skipped"
    NO_ROOM = "no_room"
    OVER_BUDGET = "over_budget"
    HELD = "held"
    DENIED = "denied"


_NOBODYS_RECORD: Final = frozenset(
    {
        ErrorClass.BAD_REQUEST,
        ErrorClass.CIRCUIT_OPEN,
        ErrorClass.CONTEXT_OVERFLOW,
        ErrorClass.DENIED,
        ErrorClass.HELD,
        ErrorClass.NO_ROOM,
        ErrorClass.OVER_BUDGET,
        ErrorClass.REFUSED,
        ErrorClass.SKIPPED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at one expert. `error` is None on success; `detail` holds no prompt and no secret.

    `unsettled_usd` is what a call that was sent and then failed may cost at most, as long as nobody knows. A call
    that was `cut_short` had less time than an attempt is due, because the caller's deadline came first.
    """

    number: int
    expert_id: str
    ok: bool
    error: ErrorClass | None = None
    detail: str = ""
    status: int | None = None
    latency_ms: float = 0.0
    usage: Usage = Usage()
    cost_usd: Decimal = Decimal(0)
    unsettled_usd: Decimal = Decimal(0)
    cut_short: bool = False
    started_at: datetime

    @property
    def counts(self) -> bool:
        """Whether it says anything about its expert: not when the caller's fault or an open circuit ended it."""
        return self.error not in _NOBODYS_RECORD and not self.cut_short

    def __str__(self) -> str:
        if self.ok:
            return f"{self.expert_id}: ok"
        return f"{self.expert_id}: {self.error}" + (f" ({self.detail})" if self.detail else "")

    def as_dict(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "expert_id": self.expert_id,
            "ok": self.ok,
            "error": self.error.value if self.error else None,
            "detail": self.detail,
            "status": self.status,
            "latency_ms": round(self.latency_ms, 3),
            "input_tokens": self.usage.input_tokens,
            "output_tokens": self.usage.output_tokens,
            "cost_usd": str(self.cost_usd),
            "unsettled_usd": str(self.unsettled_usd),
            "started_at": self.started_at.isoformat(),
        }


class Outcome(Entry):
    """How one attempt of a decision went. Counted once per (decision_id, attempt).

    A failure that names its `error` counts as far as it says anything about the expert, as with our own attempts.
    """

    decision_id: Name
    expert_id: Name
    success: StrictBool
    attempt: Annotated[int, Field(ge=1, le=1000, strict=True), Whole] = 1
    latency_ms: Annotated[float, Field(ge=0, le=MAX_MS, allow_inf_nan=False, strict=True)] | None = None
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    cost_usd: Usd | None = None
    quality: Unit | None = None
    error: ErrorClass | None = None

    @property
    def counts(self) -> bool:
        """Whether its success or failure says anything about the expert."""
        return self.success or self.error not in _NOBODYS_RECORD


class Feedback(Entry):
    """What a person or a pipeline thinks of the answer (seed 001): outcome, quality, rating, fate of the PR."""

    decision_id: Name
    source: Name
    outcome: Literal["success", "partial", "failure"] | None = None
    quality: Unit | None = None
    rating: Annotated[int, Field(ge=1, le=5, strict=True), Whole] | None = None
    pr_merged: StrictBool | None = None
    pr_reverted: StrictBool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One observation for the performance tracker; None is 'not observed', never zero.

    Its quality and reward count as `weight` of an observation, 0-1. The averages of those begin at `quality_prior` and
    `reward_prior`; without one, the first observation sets them.
    """

    expert_id: str
    task_type: str
    success: bool | None
    latency_ms: float | None = None
    cost_usd: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    quality: float | None = None
    reward: float | None = None
    weight: float = 1.0
    quality_prior: float | None = None
    reward_prior: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """The answer of `router.complete`: its text, who gave it, every attempt on the way, usage and cost."""

    ok: ClassVar[bool] = True

    text: str
    expert_id: str
    decision_id: str
    attempts: tuple[Attempt, ...]
    usage: Usage
    cost_usd: Decimal
    finish_reason: str
    tool_calls: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A piece of a streamed answer. Who serves stands in the first one already; the last one has the whole.

    `tool_calls` are deltas in OpenAI's shape: put together by their index they are the completion's. `before` are the
    attempts that came to nothing before this expert took over.
    """

    ok: ClassVar[bool] = True

    expert_id: str
    decision_id: str
    text: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    before: tuple[Attempt, ...] = ()
    completion: Completion | None = None
