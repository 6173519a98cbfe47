"""A project: the crew of a folder, run on behalf of callers who are somewhere else.

What a caller gets back is a value that says how the run ended and what each task cost, never a traceback; CrewAI is
loaded with the first run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from crew_moe.crew.context import Context, asked_of_callers, context_of, injected
from crew_moe.crew.files import CrewFiles, read_files
from crew_moe.crew.forecast import forecast
from crew_moe.crew.plan import load_plan
from crew_moe.crew.quiet import hush
from crew_moe.crew.watch import Told, Watch
from crew_moe.domain.money import parse_usd
from crew_moe.domain.outcome import ErrorClass
from crew_moe.domain.principal import Principal
from crew_moe.domain.word import Word
from crew_moe.errors import (
    ConfigError,
    CrewCancelled,
    CrewMoEError,
    ExecutionFailed,
    InvalidInput,
    MissingExtra,
    RefusedError,
)
from crew_moe.execution.trail import StopReason
from crew_moe.ports import Amount

if TYPE_CHECKING:
    from crewai.tools import BaseTool

    from crew_moe.crew.reporting import CrewReport, TaskRow
    from crew_moe.router import Router

_LOADING: Final = Lock()
_SCALARS: Final = (str, int, float, bool)


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

    `routing` is what was known of each task when the run began, `report` what its calls were; None of a run that was
    cancelled before it began.
    """

    run_id: str
    end: End
    output: str | None
    error: CrewMoEError | None
    routing: Context = field(default_factory=dict)
    report: CrewReport | None = None

    @property
    def ok(self) -> bool:
        return self.end is End.FINISHED

    @property
    def tasks(self) -> tuple[TaskRow, ...]:
        """A row for each execution of a task that made a call."""
        return () if self.report is None else self.report.tasks

    @property
    def cost_usd(self) -> Decimal:
        return Decimal(0) if self.report is None else self.report.cost_usd

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
            "fallbacks": 0 if self.report is None else self.report.fallbacks,
        }

    def _fallbacks(self, task: str) -> list[str]:
        found = self.routing.get(task)
        return [] if found is None else list(found.fallbacks)


class Project:
    """The crew in a folder's agents.yaml and tasks.yaml. `tools` are those that its files may name.

    Raises ConfigError for files that are wrong, and for a crew that nobody can run from afar: one that asks somebody
    at the terminal, or lets a caller's words name the file that a task writes.
    """

    def __init__(self, router: Router, folder: str | Path, *, tools: Mapping[str, BaseTool] | None = None) -> None:
        self._router = router
        self._files = read_files(Path(folder))
        self._tools = tools
        self._placeholders = asked_of_callers(self._files)
        _check_distance(self._files, self._placeholders)
        plan = load_plan(self._files.folder)
        plan.check(router.registry, router.policy)
        plan.check_tasks(self._files.tasks)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(self._files.tasks)

    @property
    def placeholders(self) -> frozenset[str]:
        """The inputs that a run needs; the routing context comes on top by itself."""
        return self._placeholders

    def run(
        self,
        inputs: Mapping[str, Any],
        *,
        principal: Principal | None = None,
        budget_usd: Amount | None = None,
        progress: Told | None = None,
        cancel: Event | None = None,
    ) -> CrewRun:
        """Run the crew on these inputs, for `principal`, within `budget_usd` and all limits that hold anyway.

        `progress` is called as each task begins and ends, in the thread that works on it; once `cancel` is set, no
        further model is called. Blocks; safe in many threads at once. Raises InvalidInput for wrong inputs, ConfigError
        for files that went wrong meanwhile, MissingExtra without CrewAI, and StateError when budgets can't be asked.
        """
        self._check(inputs)
        limit = None if budget_usd is None else parse_usd(budget_usd, where="budget_usd")
        if cancel is not None and cancel.is_set():
            return CrewRun(run_id=uuid4().hex, end=End.CANCELLED, output=None, error=CrewCancelled())
        _load_crewai()
        from crew_moe.crew.current import one_run
        from crew_moe.crew.kickoff import kick_off

        router, files = self._router, self._files
        with one_run() as run_id:
            router.sink.emit("crew_run_started", run_id=run_id, tasks=len(files.tasks))
            foreseen = forecast(router, files, inputs, principal=principal, run_id=run_id, for_call=True)
            context = context_of(router, foreseen, principal=principal, budget_usd=limit)
            expected = {task: one.expert_id for task, one in context.items()}
            watch = Watch(self.tasks, sink=router.sink, expected=expected, told=progress, cancel=cancel)
            ended = kick_off(
                router,
                files,
                {**inputs, **injected(context)},
                context=context,
                watch=watch,
                principal=principal,
                budget_usd=limit,
                tools=self._tools,
            )
            run = CrewRun(
                run_id=run_id,
                end=end_of(ended.error),
                output=ended.output,
                error=ended.error,
                routing=context,
                report=ended.report,
            )
            router.sink.emit("crew_run_ended", run_id=run_id, end=run.end.value, cost_usd=f"{run.cost_usd:f}")
        return run

    def _check(self, inputs: Mapping[str, Any]) -> None:
        """All that is wrong with the inputs, in one error that shows no value."""
        missing = sorted(self._placeholders - inputs.keys())
        unknown = sorted(str(name) for name in inputs.keys() - self._placeholders)
        odd = sorted(name for name in self._placeholders & inputs.keys() if not isinstance(inputs[name], _SCALARS))
        told = {"missing": missing, "unknown": unknown, "must be text, a number or a truth value": odd}
        wrong = [f"{what}: {', '.join(names)}" for what, names in told.items() if names]
        if wrong:
            raise InvalidInput(
                "; ".join(wrong),
                where="inputs",
                value=unknown[0] if unknown else None,
                allowed=sorted(self._placeholders),
            )


def end_of(error: CrewMoEError | None) -> End:
    """How a run ended, by the error that ended it."""
    if error is None:
        return End.FINISHED
    if isinstance(error, CrewCancelled):
        return End.CANCELLED
    if isinstance(error, RefusedError):
        return End.OVER_BUDGET if error.infeasible.binding == "budget_usd" else End.REFUSED
    if isinstance(error, ExecutionFailed):
        last = error.attempts[-1].error if error.attempts else None
        return _BY_REASON.get(str(error.reason)) or _BY_CLASS.get(last, End.FAILED)
    return End.FAILED


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


def _check_distance(files: CrewFiles, callers: frozenset[str]) -> None:
    for name, entry in files.tasks.items():
        if isinstance(entry, Mapping) and entry.get("human_input"):
            what = "asks somebody at the terminal, and nobody sits there when callers run the crew"
            raise ConfigError(what, file=files.tasks_file, key=f"{name}.human_input")
    for name, found in files.in_paths.items():
        if not callers.isdisjoint(found):
            what = "lets callers choose which file is written"
            raise ConfigError(what, file=files.tasks_file, key=f"{name}.output_file")


def _load_crewai() -> None:
    """Once, and in one thread: its modules import each other in circles."""
    hush()
    if find_spec("crewai") is None:
        raise MissingExtra("crew", "crewai")
    with _LOADING:
        import crew_moe.crew.kickoff  # noqa: F401
