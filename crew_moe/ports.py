"""The seams: every protocol behind which an implementation may be exchanged.

Each has an in-memory implementation that production uses too, and one contract suite in tests/contracts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any, Protocol, runtime_checkable

from crew_moe.domain.decision import Candidate, Pick
from crew_moe.domain.expert import Expert
from crew_moe.domain.features import Features
from crew_moe.domain.outcome import Sample, Usage
from crew_moe.domain.policy import Policy
from crew_moe.domain.screening import Concern, Finding, Language
from crew_moe.domain.snapshot import Breaker, Performance, Pin


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> datetime:
        """Aware UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back, for measuring."""


class EventSink(Protocol):
    """Takes structured events (switches, breaker changes, refusals); must not raise."""

    def emit(self, event: str, /, **fields: Any) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyContext:
    """What a strategy may look at beside the candidates."""

    features: Features
    policy: Policy
    tier: str | None = None
    tenant: str | None = None
    session_key: str | None = None
    load: Mapping[str, float] = field(default_factory=dict)
    now: datetime


@runtime_checkable
class Strategy(Protocol):
    """Ranks eligible experts and picks one; pure but for `rng`, which is passed in."""

    def select(self, context: StrategyContext, candidates: Sequence[Candidate], rng: Random) -> Pick: ...


class StateStore(Protocol):
    """Performance, breakers and pins, shared by all who open the same store.

    Updates are atomic; reads give a consistent copy. `version` changes whenever a decision could change: it is
    cheap enough to ask before every snapshot.
    """

    def version(self) -> int: ...

    def record(self, sample: Sample, now: datetime, *, once: str | None = None) -> bool:
        """Fold one observation in; False when `once` was seen before (the observation is not counted twice)."""

    def performance(self, now: datetime) -> Mapping[tuple[str, str], Performance]:
        """Records by (expert id, task type), expired ones left out."""

    def admit(self, key: str, now: datetime) -> bool:
        """Whether a call may pass this breaker now; takes a probe when half-open."""

    def succeed(self, key: str, now: datetime) -> Breaker: ...

    def fail(self, key: str, now: datetime, *, eject_ms: float | None = None) -> Breaker:
        """Count a failure; `eject_ms` opens at once for that long (a Retry-After), never shortening an ejection."""

    def cancel(self, key: str, now: datetime) -> Breaker:
        """Give a probe back that was neither a success nor a failure."""

    def breakers(self) -> Mapping[str, Breaker]: ...

    def pin(self, pin: Pin) -> None: ...

    def unpin(self, *, expert_id: str | None, task_type: str | None, task: str | None, tenant: str | None) -> int:
        """Remove the pins whose fields equal all those given (None: any); how many went."""

    def pins(self, now: datetime) -> tuple[Pin, ...]: ...

    def close(self) -> None: ...


class DecisionLog(Protocol):
    """Append-only record of decisions. `append` never blocks on storage; rows may be read at once."""

    def append(self, decision_id: str, row: Callable[[], Mapping[str, Any]], *, decisions: int = 1) -> None:
        """Take one record; `row` builds its JSON-ready mapping later, on the writer's thread or for a reader.

        `decisions` is how many it holds: what a log keeps in memory is bounded by them, not by records.
        """

    def get(self, decision_id: str) -> Mapping[str, Any] | None: ...

    def tail(self, count: int) -> Sequence[Mapping[str, Any]]:
        """The newest rows, newest first."""

    def flush(self) -> None:
        """Return when every row taken so far is stored."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One call of a model in OpenAI's chat format. Messages and tools are passed as they are."""

    messages: Sequence[Mapping[str, Any]]
    max_output_tokens: int | None = None
    temperature: float | None = None
    stop: Sequence[str] = ()
    seed: int | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    response_format: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatReply:
    """What a model answered. `tool_calls` in OpenAI's shape; `model` as the provider names it."""

    text: str
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    finish_reason: str = "stop"
    usage: Usage = Usage()
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatChunk:
    """A piece of a streamed answer; the last one has `reply` set to the whole."""

    text: str = ""
    reply: ChatReply | None = None


class LLMClient(Protocol):
    """Calls one expert once: no retry, no fallback. Raises CallFailed (execution.failure), never anything else."""

    def call(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply: ...

    async def acall(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply: ...

    def stream(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> Iterator[ChatChunk]: ...

    def astream(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> AsyncIterator[ChatChunk]: ...

    def close(self) -> None: ...


class Detector(Protocol):
    """Looks for one concern in one text; pure, safe for threads, linear in the text's length."""

    @property
    def concern(self) -> Concern: ...

    @property
    def version(self) -> str: ...

    def assess(self, text: str) -> Finding: ...


class LanguageDetector(Protocol):
    """Tells the language of a text; None where the text is too short or too mixed to tell."""

    def detect(self, text: str) -> Language | None: ...
