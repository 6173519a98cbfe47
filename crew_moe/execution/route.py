"""What the executor is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count

from crew_moe.domain.chat import ChatChunk, ChatReply
from crew_moe.domain.outcome import Attempt
from crew_moe.domain.usage import Usage
from crew_moe.execution.errand import NOBODYS, Errand


def never() -> bool:
    """Of a call that nobody cancels."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Whom to ask, in order (the chosen expert, then its fallbacks), and within which limits.

    `deadline` in seconds of the clock's `monotonic`; `errand` says who pays and what the gate is told.
    `max_output_tokens` caps what the chat itself asks for. `cancelled` is asked before every call; a yes ends it all
    before the call is made. `numbers` gives each attempt its number; copies of a route
    share it, so that a decision that serves several calls, one after another or side by side, has no number twice.
    """

    decision_id: str
    task_type: str
    experts: tuple[str, ...]
    max_attempts: int
    attempt_timeout_ms: float | None = None
    deadline: float | None = None
    errand: Errand = NOBODYS
    max_output_tokens: int | None = None
    cancelled: Callable[[], bool] = field(default=never, compare=False, repr=False)
    numbers: Iterator[int] = field(default_factory=lambda: count(1), compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A reply, who gave it, and every attempt on the way, skips and open circuits included.

    `usage` and `cost_usd` add up all attempts. `unsettled_usd` is the worst case of those attempts that were sent but
    whose price nobody told: it counts against a budget until it is known better. `approved` by a person.
    """

    reply: ChatReply
    expert_id: str
    attempts: tuple[Attempt, ...]
    usage: Usage
    cost_usd: Decimal
    unsettled_usd: Decimal = Decimal(0)
    approved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerChunk(ChatChunk):
    """A piece of a streamed answer; the last one, which has no text, carries the whole.

    `expert_id` says who serves, `before` which attempts came to nothing before.
    """

    expert_id: str = ""
    before: tuple[Attempt, ...] = ()
    answer: Answer | None = None
