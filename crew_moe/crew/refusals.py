"""How a call that nobody could serve ends a crew: our typed errors, in a form that CrewAI lets through.

CrewAI repeats an agent's task on any exception but `HookAborted`, and repeats a call whose error text looks like a rate
limit. The executor has already done all retrying that makes sense, so these errors are HookAborted too, and their
text names error classes only: no provider's wording, which CrewAI would read for signs.
"""

from __future__ import annotations

from collections.abc import Sequence

from crewai.hooks import HookAborted

from crew_moe.domain.decision import Infeasible
from crew_moe.domain.outcome import Attempt
from crew_moe.errors import ExecutionFailed, RefusedError

SOURCE = "crew-moe"


class TaskRefused(RefusedError, HookAborted):
    """No expert may serve this call; ends the crew. `attempts` are those that the task had made before."""

    def __init__(self, infeasible: Infeasible, attempts: Sequence[Attempt] = ()) -> None:
        super().__init__(infeasible)
        self.attempts = tuple(attempts)
        self.source = SOURCE


class TaskFailed(ExecutionFailed, HookAborted):
    """Every expert that may serve this call was tried and failed; ends the crew. `attempts` is the whole trail."""

    def __init__(self, attempts: Sequence[Attempt], *, reason: str) -> None:
        super().__init__(attempts, reason=reason)
        self.reason = reason
        self.source = SOURCE

    def __str__(self) -> str:
        return f"no expert could answer ({self.reason}): {trail_of(self.attempts)}"


class SeatRefused(RefusedError):
    """As TaskRefused, for a seat that a crew can do without (memory): CrewAI goes on without its answer."""


class SeatFailed(ExecutionFailed):
    """As TaskFailed, for a seat that a crew can do without (memory): CrewAI goes on without its answer."""

    def __str__(self) -> str:
        return f"no expert could answer ({self.reason}): {trail_of(self.attempts)}"


class ContextTooLong(RefusedError):
    """The conversation fits no eligible expert. CrewAI knows these words: it shortens it and calls again."""

    def __str__(self) -> str:
        return f"context length exceeded: {self.infeasible}"


class ToolsUnsupported(RefusedError):
    """No eligible expert takes tools. CrewAI knows these words: it goes on with tools described in the text."""

    def __str__(self) -> str:
        return f"function calling is not supported by any eligible expert: {self.infeasible}"


def trail_of(attempts: Sequence[Attempt]) -> str:
    """Expert, error class and HTTP status of each attempt."""
    return "; ".join(_line(attempt) for attempt in attempts) or "no attempt was possible"


def _line(attempt: Attempt) -> str:
    status = f" (HTTP {attempt.status})" if attempt.status is not None else ""
    return f"{attempt.expert_id}: {'ok' if attempt.ok else attempt.error}{status}"
