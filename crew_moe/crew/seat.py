"""An LLM seat: one place in a crew where a model is called."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from crew_moe.crew.call import Sampling
from crew_moe.domain.task import TaskType

if TYPE_CHECKING:
    from crew_moe.crew.dispatcher import Dispatcher


class SeatKind(StrEnum):
    """Where in a crew a model is called."""

    AGENT = "agent"
    MANAGER = "manager"
    FUNCTION_CALLING = "function_calling"
    REASONING = "reasoning"
    PLANNING = "planning"
    MEMORY = "memory"
    CHAT = "chat"
    EVALUATOR = "evaluator"

    @property
    def serves_tasks(self) -> bool:
        """Whether its calls are part of the task at hand (else they are the crew's own)."""
        return self in _TASK_SEATS

    @property
    def may_fail(self) -> bool:
        """Whether CrewAI goes on without the answer."""
        return self in (SeatKind.MEMORY, SeatKind.EVALUATOR)

    @property
    def task_type(self) -> TaskType | None:
        """The kind of work that the seat always does."""
        return _TASK_TYPES.get(self)


_TASK_SEATS: Final = frozenset({SeatKind.AGENT, SeatKind.MANAGER, SeatKind.FUNCTION_CALLING, SeatKind.REASONING})
_TASK_TYPES: Final = {
    SeatKind.FUNCTION_CALLING: TaskType.TOOL_USE,
    SeatKind.REASONING: TaskType.PLANNING,
    SeatKind.PLANNING: TaskType.PLANNING,
    SeatKind.MEMORY: TaskType.ANALYSIS,
    SeatKind.EVALUATOR: TaskType.ANALYSIS,
}


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Seat:
    """One seat of one crew. `agent` is the role by which files know it, `preference` its own expert, tried first."""

    seat_id: str
    kind: SeatKind
    agent: str | None
    preference: str | None
    sampling: Sampling
    dispatcher: Dispatcher

    @property
    def label(self) -> str:
        return f"{self.kind}:{self.agent}" if self.agent else str(self.kind)
