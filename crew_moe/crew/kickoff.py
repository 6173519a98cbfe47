"""One run of a crew from its files, to its end or to the error that ended it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from threading import Event
from typing import TYPE_CHECKING, Any, TextIO

from crewai import Crew

from crew_moe.crew.context import Context, context_of, injected
from crew_moe.crew.crew_run import CrewRun
from crew_moe.crew.current import one_run
from crew_moe.crew.factory import AgentFactory
from crew_moe.crew.files import CrewFiles, filled
from crew_moe.crew.forecast import forecast
from crew_moe.crew.journal import Journal
from crew_moe.crew.quiet import quiet
from crew_moe.crew.reporting import report
from crew_moe.crew.routed_crew import dispatcher_of
from crew_moe.crew.watch import Told, Watch
from crew_moe.domain.principal import Principal
from crew_moe.errors import CrewCancelled, CrewFailed, CrewMoEError

if TYPE_CHECKING:
    from crewai.tools import BaseTool

    from crew_moe.router import Router


def kick_off(
    router: Router,
    files: CrewFiles,
    inputs: Mapping[str, Any],
    *,
    foresee: bool = True,
    principal: Principal | None = None,
    budget_usd: Decimal | None = None,
    tools: Mapping[str, BaseTool] | None = None,
    told: Told | None = None,
    cancel: Event | None = None,
    chatter: TextIO | None = None,
) -> CrewRun:
    """Build the crew and run it. With `foresee`, every task is decided about beforehand, and the inputs tell of it.

    What CrewAI prints goes to `chatter`, else nowhere. Raises ConfigError and NotAvailable for a crew that can't be
    built, and StateError; whatever happens after that is in the value.
    """
    with one_run() as run_id:
        router.sink.emit("crew_run_started", run_id=run_id, tasks=len(files.tasks))
        context: Context = {}
        if foresee:
            foreseen = forecast(router, files, inputs, principal=principal, run_id=run_id, for_call=True)
            context = context_of(router, foreseen, principal=principal, budget_usd=budget_usd)
        expected = {task: one.expert_id for task, one in context.items()}
        watch = Watch(tuple(files.tasks), sink=router.sink, expected=expected, told=told, cancel=cancel)
        with quiet(chatter), one_run(watch=watch):
            factory = AgentFactory(router, tools=tools, principal=principal, budget_usd=budget_usd)
            crew = factory.build_crew(files.folder)
            _tell(crew, context, watch)
            output, error = _to_its_end(crew, {**inputs, **injected(context)})
            error = CrewCancelled() if error and watch.stopped else error
            watch.finish()
            run = CrewRun(
                run_id=run_id,
                output=output,
                error=error,
                routing=context,
                report=report(crew),
            )
        router.sink.emit("crew_run_ended", run_id=run_id, end=run.end.value, cost_usd=f"{run.cost_usd:f}")
    return run


def _to_its_end(crew: Crew, inputs: dict[str, Any]) -> tuple[str | None, CrewMoEError | None]:
    """The crew's text, or why there is none."""
    try:
        return str(getattr(crew.kickoff(inputs=inputs), "raw", "")), None
    except CrewMoEError as failure:
        return None, failure
    except Exception as failure:  # noqa: BLE001 - CrewAI's and the tools' own; what the run cost is still told
        error = CrewFailed(failure)
        error.__cause__ = failure
        return None, error


def _tell(crew: Crew, context: Context, watch: Watch) -> None:
    """Let tasks know what is known of them, and the watch how they do."""
    dispatcher = dispatcher_of(crew)
    if dispatcher is not None:
        watch.so_far = lambda: _so_far(dispatcher.journal)
    crew.task_callback = watch.ended
    for task in crew.tasks:
        routing = context.get(task.name or "")
        if routing is not None:
            task.description = filled(task.description, routing.words)
            task.expected_output = filled(task.expected_output, routing.words)


def _so_far(journal: Journal) -> tuple[Mapping[str, str], Decimal]:
    calls, _ = journal.snapshot()
    served = {call.label: call.expert_id for call in calls if call.in_task and call.expert_id is not None}
    return served, journal.cost_usd
