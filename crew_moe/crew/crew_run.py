"""What came of a run of a crew: its text or the error that ended it, what each task cost, and what was foreseen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from crew_moe.crew.context import Context
from crew_moe.domain.decision import Infeasible
from crew_moe.domain.outcome import ErrorClass
from crew_moe.domain.word import Word
from crew_moe.errors import CrewCancelled, CrewMoEError, ExecutionFailed, RefusedError
from crew_moe.execution.trail import StopReason
from crew_moe.routing.eligibility import BUDGET

if TYPE_CHECKING:
    from crew_moe.crew.reporting import CrewReport, TaskRow


class End(Word):
    """How a run came to its end."""

    FINISHED = "finished"
    REFUSED = "refused"  # nobody may serve a task: a rule, screening, the gate, or a person who said no
    OVER_BUDGET = "over_budget"
    CANCELLED = "cancelled"
    FAILED = "failed"  # no expert answered, or the crew's own parts broke


@dataclass(frozen=True, slots=True, kw_only=True)
class CrewRun:
    """What came of one run. `output` is the crew's text, None where `error` says why there is none.

    `routing` is what was known of each task when the run began, `report` what its calls were.
    """

    run_id: str
    output: str | None
    error: CrewMoEError | None
    routing: Context
    report: CrewReport

    @property
    def end(self) -> End:
        return end_of(self.error)

    @property
    def ok(self) -> bool:
        return self.end is End.FINISHED

    @property
    def tasks(self) -> tuple[TaskRow, ...]:
        """A row for each execution of a task that made a call."""
        return self.report.tasks

    @property
    def cost_usd(self) -> Decimal:
        return self.report.cost_usd

    @property
    def unsettled_usd(self) -> Decimal:
        """What calls that were sent and then failed may cost at most, as long as nobody knows."""
        return sum((one.unsettled_usd for row in self.tasks for one in row.attempts), Decimal(0))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; money as strings."""
        return {
            "run_id": self.run_id,
            "ok": self.ok,
            "end": self.end.value,
            "output": self.output,
            "error": None if self.error is None else str(self.error),
            "tasks": [{**row.as_dict(), "fallbacks": self._fallbacks(row.task)} for row in self.tasks],
            "routing": {task: one.as_dict() for task, one in self.routing.items()},
            "cost_usd": f"{self.cost_usd:f}",
            "unsettled_usd": f"{self.unsettled_usd:f}",
            "fallbacks": self.report.fallbacks,
        }

    def _fallbacks(self, task: str) -> list[str]:
        found = self.routing.get(task)
        return [] if found is None else list(found.fallbacks)


def end_of(error: CrewMoEError | None) -> End:
    """How a run ended, by the error that ended it."""
    if error is None:
        return End.FINISHED
    if isinstance(error, CrewCancelled):
        return End.CANCELLED
    if isinstance(error, RefusedError):
        return End.OVER_BUDGET if _money_would_do(error.infeasible) else End.REFUSED
    if isinstance(error, ExecutionFailed):
        last = error.attempts[-1].error if error.attempts else None
        return _BY_REASON.get(str(error.reason)) or _BY_CLASS.get(last, End.FAILED)
    return End.FAILED


def _money_would_do(infeasible: Infeasible) -> bool:
    """Whether some expert is kept out by its price alone."""
    return any(one.rule == BUDGET and not one.also for one in infeasible.rejections)


_BY_REASON: Final[Mapping[str, End]] = {
    StopReason.BUDGET: End.OVER_BUDGET,
    StopReason.SPENT: End.OVER_BUDGET,
    StopReason.DENIED: End.REFUSED,
    StopReason.HELD: End.REFUSED,
    StopReason.DECLINED: End.REFUSED,
    StopReason.CANCELLED: End.CANCELLED,
}
_BY_CLASS: Final[Mapping[Any, End]] = {
    ErrorClass.OVER_BUDGET: End.OVER_BUDGET,
    ErrorClass.DENIED: End.REFUSED,
    ErrorClass.HELD: End.REFUSED,
}
