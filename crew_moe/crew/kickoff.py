"""One run of a crew from its files, to its end or to the error that ended it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TextIO

from crewai import Crew

from crew_moe.crew.context import Context
from crew_moe.crew.current import one_run
from crew_moe.crew.factory import AgentFactory
from crew_moe.crew.files import CrewFiles, filled
from crew_moe.crew.journal import Journal
from crew_moe.crew.quiet import quiet
from crew_moe.crew.reporting import CrewReport, report
from crew_moe.crew.routed_crew import dispatcher_of
from crew_moe.crew.watch import Watch
from crew_moe.domain.principal import Principal
from crew_moe.errors import CrewCancelled, CrewFailed, CrewMoEError

if TYPE_CHECKING:
    from crewai.tools import BaseTool

    from crew_moe.router import Router


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run came out: `output` is the crew's text, None where `error` says why there is none."""

    report: CrewReport
    output: str | None
    error: CrewMoEError | None


def kick_off(
    router: Router,
    files: CrewFiles,
    inputs: Mapping[str, Any],
    *,
    context: Context,
    watch: Watch,
    principal: Principal | None = None,
    budget_usd: Decimal | None = None,
    tools: Mapping[str, BaseTool] | None = None,
    chatter: TextIO | None = None,
) -> Ended:
    """Build the crew and run it; what CrewAI prints goes to `chatter`, else nowhere.

    Raises ConfigError and NotAvailable for a crew that can't be built; whatever happens later is in the value.
    """
    error: CrewMoEError | None = None
    output = None
    with quiet(chatter), one_run(watch=watch):
        factory = AgentFactory(router, tools=tools, principal=principal, budget_usd=budget_usd)
        crew = factory.build_crew(files.folder)
        _tell(crew, context, watch)
        try:
            output = str(getattr(crew.kickoff(inputs=dict(inputs)), "raw", ""))
        except CrewMoEError as failure:
            error = failure
        except Exception as failure:  # noqa: BLE001 - CrewAI's and the tools' own; what the run cost is still told
            error = CrewFailed(failure)
            error.__cause__ = failure
        told = report(crew)
    return Ended(report=told, output=output, error=CrewCancelled() if error and watch.stopped else error)


def _tell(crew: Crew, context: Context, watch: Watch) -> None:
    """Let tasks know what is known of them, and the watch how they do."""
    dispatcher = dispatcher_of(crew)
    if dispatcher is not None:
        watch.so_far = lambda: _so_far(dispatcher.journal)
    crew.task_callback = watch.ended
    for task in crew.tasks:
        routing = context.get(task.name or "")
        words = {} if routing is None else routing.words
        task.description = filled(task.description, words)
        task.expected_output = filled(task.expected_output, words)


def _so_far(journal: Journal) -> tuple[Mapping[str, str], Decimal]:
    calls, _ = journal.snapshot()
    served = {call.label: call.expert_id for call in calls if call.in_task and call.expert_id is not None}
    return served, journal.cost_usd
