"""What is asked of the local gate, and what it answers: the values between its parts and its surfaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from crew_moe.domain.chat import ChatReply, ChatRequest
from crew_moe.domain.expert import Tier
from crew_moe.domain.word import Word


class LocalTask(Word):
    """What is to be done with a text (seed 003)."""

    PROCESS = "process"
    EMBED = "embed"


class Trouble(Word):
    """Why a hosted expert, or the gate, did not answer."""

    INVALID_INPUT = "invalid_input"
    INPUT_TOO_LONG = "input_too_long"
    UNKNOWN_EXPERT = "unknown_expert"
    NOT_CAPABLE = "not_capable"
    MISSING_EXTRA = "missing_extra"
    MISSING_WEIGHTS = "missing_weights"
    BAD_WEIGHTS = "bad_weights"
    OUT_OF_MEMORY = "out_of_memory"
    MODEL_FAILED = "model_failed"
    UNAVAILABLE = "unavailable"
    OVERLOADED = "overloaded"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"

    @property
    def is_outage(self) -> bool:
        """Whether another expert might well do it: nothing was wrong with what was asked."""
        return self not in _ASKED_WRONGLY


_ASKED_WRONGLY: Final = frozenset(
    {Trouble.INVALID_INPUT, Trouble.INPUT_TOO_LONG, Trouble.UNKNOWN_EXPERT, Trouble.NOT_CAPABLE, Trouble.CANCELLED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRefusal:
    """No answer: why, in words without the text that was given, and what may be done about it."""

    trouble: Trouble
    what: str
    next_steps: tuple[str, ...] = ()
    expert: str | None = None
    allowed: tuple[str, ...] = ()
    retry_after_s: float | None = None

    @property
    def ok(self) -> bool:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Processed:
    """An answer. `result` is a text, or the embedding of it; `confidence` is the gate's, 1.0 where the caller chose.

    `input_features` are those the gate looks at, by name. `cached`: nothing was computed for it; it was made for a text
    whose embedding is this near (`similarity`, a cosine; 1.0: the very text). `tried` are the experts that were asked
    before `expert_used`, and why each did not answer. `profile` is "light" where load made it cheaper than asked.
    `decision_id` names its row in the gate's log; "" where there is none.
    """

    result: str | tuple[float, ...]
    expert_used: str
    confidence: float
    processing_time_s: float
    input_features: Mapping[str, float] = field(default_factory=dict)
    model_version: str = ""
    finish_reason: str = "stop"
    input_tokens: int = 0
    output_tokens: int = 0
    cached: bool = False
    similarity: float = 1.0
    tried: tuple[tuple[str, Trouble], ...] = ()
    profile: Literal["full", "light"] = "full"
    reply: ChatReply | None = None
    decision_id: str = ""

    @property
    def ok(self) -> bool:
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request of the local gate. `expert` None: the gate chooses. `options` are the host's own words.

    `tier` decides who waits for whom; `timeout_s` is for all of it, waiting included (None: the plan's).
    `chat` is the whole chat where the text is one of its messages. What is remembered of one `tenant` serves no other.
    Under load an answer may be made
    by another expert or cheaper than asked, unless it is not `flexible`.
    """

    text: str
    expert: str | None = None
    task: LocalTask = LocalTask.PROCESS
    options: Mapping[str, Any] = field(default_factory=dict)
    tier: Tier = Tier.BASELINE
    timeout_s: float | None = None
    chat: ChatRequest | None = None
    flexible: bool = True
    tenant: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One text for one hosted expert; `chat` is the whole chat where the text is its last message.

    `gone` tells whether nobody waits for the answer any more: a host may ask it between tokens, and give up
    (Trouble.CANCELLED) when it does.
    """

    text: str
    options: Mapping[str, Any] = field(default_factory=dict)
    max_output_tokens: int | None = None
    chat: ChatRequest | None = None
    gone: Callable[[], bool] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a hosted expert made of one text; `reply` where it answered a chat."""

    text: str
    input_tokens: int = 0
    output_tokens: int = 0
    finish_reason: str = "stop"
    reply: ChatReply | None = None


class Loaded(Word):
    """Where a hosted expert's model is."""

    COLD = "cold"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostHealth:
    """How one hosted expert is. `queue` is what waits in its own server (None: it does not tell)."""

    name: str
    state: Loaded
    version: str = ""
    device: str = ""
    memory_bytes: int = 0
    queue: int | None = None
    models: tuple[str, ...] = ()
    trouble: Trouble | None = None
    what: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalHealth:
    """How the local gate is. `queues` is how many calls wait for each expert in this process, `waits_s` how long a new
    one would; `gate` is what the gating network tells of itself.
    """

    hosts: Mapping[str, HostHealth]
    device: str = "cpu"
    queues: Mapping[str, int] = field(default_factory=dict)
    waits_s: Mapping[str, float] = field(default_factory=dict)
    gate: Mapping[str, Any] = field(default_factory=dict)
    closed: bool = False
