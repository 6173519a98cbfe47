"""Connects a call of a seat to the expert that serves it, over as many decisions as it takes.

Nothing here waits: `serve` is a generator that yields steps (a route and a request) and is told how each went, so that
the blocking, the asynchronous and the streaming ways of calling share every decision.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING, Final

from crew_moe.crew.assigning import Assigner
from crew_moe.crew.call import LLMCall
from crew_moe.crew.current import run_now
from crew_moe.crew.journal import CallRecord, Journal, Switch
from crew_moe.crew.order import Order
from crew_moe.crew.payer import Payer
from crew_moe.crew.plan import RoutingPlan
from crew_moe.crew.refusals import (
    ContextTooLong,
    SeatFailed,
    SeatRefused,
    TaskFailed,
    TaskRefused,
    ToolsUnsupported,
    trail_of,
)
from crew_moe.crew.runs import Assignment, Runs, TaskRun
from crew_moe.crew.seat import Seat
from crew_moe.crew.tokens import TokenCount
from crew_moe.crew.unrouted import Bypass
from crew_moe.domain.chat import ChatReply, ChatRequest
from crew_moe.domain.decision import Decision, Infeasible
from crew_moe.domain.expert import Capability, Expert
from crew_moe.domain.money import to_nano, to_usd
from crew_moe.domain.outcome import Attempt, ErrorClass
from crew_moe.domain.usage import Usage
from crew_moe.errors import ExecutionFailed
from crew_moe.execution.remedying import TURNED_AWAY
from crew_moe.execution.route import Answer, Route
from crew_moe.execution.screened import Restorer
from crew_moe.execution.trail import StopReason
from crew_moe.routing.eligibility import CONTEXT

if TYPE_CHECKING:
    from crewai import Task

    from crew_moe.router import Router

MAX_DECISIONS: Final = 4  # per call; each has its own chain of fallbacks
MAX_OVERFLOWS: Final = 3  # per task execution: how often CrewAI may shorten the conversation and try again
# No other expert helps.
FINAL: Final = frozenset(
    {
        StopReason.CANCELLED,
        StopReason.DEADLINE,
        StopReason.DECLINED,
        StopReason.HELD,
        StopReason.PARTIAL,
        StopReason.REJECTED,
        StopReason.SPENT,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something to do now: send `chat` along `route`."""

    route: Route
    chat: ChatRequest
    restorer: Restorer


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A call that was answered. `usage` counts every attempt that the providers charge for."""

    reply: ChatReply
    expert_id: str
    usage: Usage


@dataclass(slots=True)
class _Tally:
    """What one call has done so far."""

    began: float = field(default_factory=perf_counter)
    attempts: list[Attempt] = field(default_factory=list)
    switches: list[Switch] = field(default_factory=list)
    ruling: Decision | Infeasible | None = None
    reason: str = ""

    def decided(self, found: Assignment | Infeasible) -> None:
        """The newest decision that named somebody; a refusal only where there was none before."""
        if isinstance(found, Assignment):
            self.ruling = found.decision
        elif self.ruling is None:
            self.ruling = found

    def add(self, attempts: Iterable[Attempt], previous: str | None, reason: str) -> None:
        """Take the attempts of one route; `previous` served the seat before, `reason` made this decision necessary."""
        last = self.attempts[-1] if self.attempts else None
        for attempt in attempts:
            if last is not None and last.expert_id != attempt.expert_id:
                failed = last.error not in TURNED_AWAY
                self.switches.append(_switch(last.expert_id, attempt.expert_id, str(last.error), fallback=failed))
            elif last is None and previous not in (None, attempt.expert_id):
                self.switches.append(_switch(str(previous), attempt.expert_id, reason, fallback=False))
            self.attempts.append(attempt)
            last = attempt


def _switch(from_expert: str, to_expert: str, reason: str, *, fallback: bool) -> Switch:
    return Switch(from_expert=from_expert, to_expert=to_expert, reason=reason, fallback=fallback)


class Dispatcher:
    """What the seats of one crew share: the router, the routing plan, the running tasks and the journal.

    `shared` counts the tokens of seats that belong to no agent, which CrewAI's own sums leave out. `members` are the
    agents with a seat here, by role; `payer` is on whose behalf the crew works, `bypass` for calls of models without a
    seat.
    """

    def __init__(
        self,
        router: Router,
        plan: RoutingPlan,
        *,
        tasks: Callable[[], Iterable[Task]],
        journal: Journal | None = None,
        payer: Payer | None = None,
    ) -> None:
        self.router = router
        self.plan = plan
        self.journal = journal or Journal()
        self.shared = TokenCount()
        self.members: set[str | None] = set()
        self.runs = Runs(tasks, router.clock.monotonic, self.journal.numbers)
        self.payer = payer or Payer(router=router)
        self.bypass = Bypass(self.payer)
        self._assigner = Assigner(router, plan, self.payer)

    def possible(self, seat: Seat) -> Sequence[Expert]:
        """Experts that may serve this seat as far as the catalogue and the blocks tell, breakers and sizes aside."""
        task = self.runs.task_now()
        return self._assigner.possible(seat, task.name if task is not None else None)

    def serve(self, seat: Seat, call: LLMCall) -> Generator[Step, Answer | ExecutionFailed, Served]:
        """Yield steps until one is answered. Raises one of crew.refusals when none is."""
        run, here = self.runs.of(call), run_now()
        if run.ended_by is not None and seat.kind.serves_tasks:
            raise run.ended_by
        watch = None if here is None else here.watch
        with nullcontext() if watch is None else watch.calling(run.name if seat.kind.serves_tasks else None):
            return (yield from self._serve(seat, run, call))

    def _serve(self, seat: Seat, run: TaskRun, call: LLMCall) -> Generator[Step, Answer | ExecutionFailed, Served]:
        tally = _Tally()
        order = self._assigner.order(seat, run, call)
        found: tuple[Assignment, str] | Infeasible | None = self._assigner.assign(order)
        for _ in range(MAX_DECISIONS):
            if found is None or isinstance(found, Infeasible):
                break
            assignment, reason = found
            tally.decided(assignment)
            outcome = yield from self._attempt(order, assignment)
            tally.add(outcome.attempts, run.served_by.get(seat.seat_id), reason)
            if isinstance(outcome, Answer):
                self._keep(order, assignment, outcome)
                return self._served(order, tally, outcome)
            tally.reason = outcome.reason
            final = outcome.reason in FINAL and outcome.remedy is None
            found = None if final else self._assigner.reassign(order, tally.attempts, outcome.remedy)
        infeasible = found if isinstance(found, Infeasible) else None
        if infeasible is not None:
            tally.decided(infeasible)
        error = self._refusal(order, tally, infeasible)
        self._record(order, tally, None, error)
        raise error

    def _attempt(
        self, order: Order, assignment: Assignment
    ) -> Generator[Step, Answer | ExecutionFailed, Answer | ExecutionFailed]:
        """One route; a call that never comes back leaves its money to the ledger's lease."""
        route = self._assigner.route(order, assignment)
        chat = order.chat(route.max_output_tokens)
        outcome = yield Step(route=route, chat=chat, restorer=order.screened.restorer())
        order.run.note(outcome.attempts)
        return outcome

    def _keep(self, order: Order, assignment: Assignment, answer: Answer) -> None:
        """The expert that answered serves the rest of the task; those that failed go last."""
        order.run.served_by[order.seat.seat_id] = answer.expert_id
        if answer.approved and order.limit_nano is not None:  # a person said yes to the task, up to its price
            order.run.grant(answer.expert_id, order.screened.hold)
        if assignment.experts[0] == answer.expert_id:
            return
        failed = {attempt.expert_id for attempt in answer.attempts if not attempt.ok}
        others = [expert for expert in assignment.experts if expert != answer.expert_id]
        others.sort(key=lambda expert: expert in failed)
        order.keep(replace(assignment, experts=(answer.expert_id, *others)))

    def _served(self, order: Order, tally: _Tally, answer: Answer) -> Served:
        self._record(order, tally, answer.expert_id, None)
        return Served(
            reply=order.screened.restore(answer.reply), expert_id=answer.expert_id, usage=_usage(tally.attempts)
        )

    def _refusal(self, order: Order, tally: _Tally, infeasible: Infeasible | None) -> Exception:
        """The error that says why nobody answered, in the form that makes CrewAI do the right thing."""
        run, seat = order.run, order.seat
        overflow = bool(tally.attempts) and tally.attempts[-1].error is ErrorClass.CONTEXT_OVERFLOW
        too_long = overflow or (infeasible is not None and infeasible.binding == CONTEXT)
        if too_long and order.may_shorten and run.overflows < MAX_OVERFLOWS:
            run.overflows += 1
            return ContextTooLong(infeasible or "every expert that was asked said so")
        if tally.reason not in FINAL and self._only_tools_lack(order, tally):
            return ToolsUnsupported(infeasible or trail_of(tally.attempts))
        if not tally.attempts and infeasible is not None:
            refused: Exception = (
                SeatRefused(infeasible) if seat.kind.may_fail else TaskRefused(infeasible, run.attempts)
            )
            return self._ended(order, refused)
        reason = str(infeasible) if infeasible is not None else tally.reason
        failed = SeatFailed if seat.kind.may_fail else TaskFailed
        return self._ended(order, failed(run.since_success(), reason=reason))

    def _ended(self, order: Order, error: Exception) -> Exception:
        """CrewAI turns a coworker's error into text for the manager; remembering it ends the task at its next call."""
        if order.seat.kind.serves_tasks and order.run.task is not None:
            order.run.ended_by = error
        return error

    def _only_tools_lack(self, order: Order, tally: _Tally) -> bool:
        """Whether somebody could serve if tools were described in the text, and nobody asked for more than that."""
        needed = Capability.TOOLS in order.block.requires
        if Capability.TOOLS not in order.call.requires or needed or order.screened.stop is not None:
            return False
        request = order.request()
        without = request.model_copy(update={"requires": request.requires - {Capability.TOOLS}})
        ruling = self._assigner.ruling(without, order.screened.demands)
        failed = {attempt.expert_id for attempt in tally.attempts}
        return isinstance(ruling, Decision) and any(one.expert_id not in failed for one in ruling.candidates)

    def _record(self, order: Order, tally: _Tally, expert_id: str | None, error: Exception | None) -> None:
        run, seat = order.run, order.seat
        record = CallRecord(
            run=run.number,
            label=run.label,
            in_task=run.task is not None and seat.kind.serves_tasks,
            seat=seat.label,
            kind=seat.kind,
            ruling=tally.ruling,
            expert_id=expert_id,
            tier=None if expert_id is None else self.router.registry[expert_id].tier,
            attempts=tuple(tally.attempts),
            switches=tuple(tally.switches),
            usage=_usage(tally.attempts),
            cost_usd=to_usd(_known_nano(tally.attempts)),
            latency_ms=(perf_counter() - tally.began) * 1000.0,
            redacted=order.screened.redacted,
            error=None if error is None else str(error),
        )
        self.journal.add(record)


def _known_nano(attempts: Iterable[Attempt]) -> int:
    return sum(to_nano(attempt.cost_usd) for attempt in attempts)


def _usage(attempts: Iterable[Attempt]) -> Usage:
    return sum((attempt.usage for attempt in attempts), Usage())
