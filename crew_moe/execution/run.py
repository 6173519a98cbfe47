"""One call on its way through its experts: what the trail decides, done to breakers, rows and reports.

Nothing here waits, so the same code serves threads and event loops; the executor does the waiting and the calling.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Self

from crew_moe.domain.expert import Expert
from crew_moe.domain.money import to_usd
from crew_moe.domain.outcome import Attempt, ErrorClass, Usage
from crew_moe.domain.policy import Limits
from crew_moe.domain.registry import Registry
from crew_moe.errors import ExecutionFailed
from crew_moe.execution.circuits import Circuits
from crew_moe.execution.failure import CallFailed
from crew_moe.execution.plan import output_cap, planned
from crew_moe.execution.route import Answer, Route
from crew_moe.execution.spend import estimated_usage, size_of
from crew_moe.execution.trail import REACTIONS, Call, Skip, Stop, StopReason, Wait
from crew_moe.ports import ChatReply, ChatRequest, Clock, EventSink

ESTIMATED: Final = "usage estimated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every run of one executor shares."""

    registry: Registry
    circuits: Circuits
    limits: Limits
    clock: Clock
    report: Callable[[Route, Attempt], None]
    sink: EventSink


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Call this expert with this request, which may take so long. The rest is the run's own note of the call."""

    expert: Expert
    request: ChatRequest
    timeout_s: float
    whole: bool
    worst_nano: int
    since: float
    started_at: datetime


class Run:
    """`step` until it is an Answer; tell `settle` what an Ask brought, and `waited` when a Wait is over.

    As a context manager it gives the breakers' probes back, however the caller leaves an open call.
    """

    def __init__(self, around: Surroundings, route: Route, chat: ChatRequest) -> None:
        self._around = around
        self._route = route
        self._chat = chat
        self._size = size_of(chat)
        self._trail = planned(route, chat, self._size, around.registry, around.limits)
        self._rows: list[Attempt] = []
        self._open: Ask | None = None
        self._answer: Answer | None = None
        self._unsettled_nano = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """A call that is still open was given up: its probes go back, its price stays unknown."""
        ask, self._open = self._open, None
        if ask is not None:
            self._around.circuits.undecided(ask.expert)
            self._row(ask.expert.expert_id, error=ErrorClass.SKIPPED, detail="given up by the caller", ask=ask)

    def step(self) -> Ask | Wait | Answer:
        """What the caller is to do now. Raises ExecutionFailed when there is nothing more to try."""
        while self._answer is None:
            match self._trail.step(self._left_ms()):
                case Stop(reason=reason):
                    raise ExecutionFailed(self._rows, reason=reason)
                case Wait() as wait:
                    return wait
                case Skip() as skip:
                    self._pass_over(skip.expert_id, skip.error, skip.detail)
                case Call() as call:
                    expert = self._around.registry[call.expert_id]
                    closed = self._around.circuits.refusing(expert)
                    if closed is None:
                        return self._ask(expert, call)
                    self._pass_over(call.expert_id, ErrorClass.CIRCUIT_OPEN, closed)
        return self._answer

    def waited(self) -> None:
        """The wait that `step` asked for is over."""
        self._trail = self._trail.waited()

    def settle(self, result: ChatReply | CallFailed, *, shown: int = 0) -> None:
        """What the call brought; `shown` characters of a stream have gone to the caller already."""
        ask, self._open = self._open, None
        if ask is None:
            raise RuntimeError("no call is open")
        if isinstance(result, ChatReply):
            self._succeed(ask, result)
        else:
            self._fail(ask, result, shown)

    def _ask(self, expert: Expert, call: Call) -> Ask:
        around = self._around
        cap = output_cap(
            expert, self._route, self._chat, around.limits, size=self._size, left_nano=self._trail.left_nano
        )
        self._note_switch(expert)
        self._open = Ask(
            expert=expert,
            request=replace(self._chat, max_output_tokens=cap),
            timeout_s=call.timeout_ms / 1000.0,
            whole=call.whole,
            worst_nano=expert.charge_nano(self._size.bound, cap),
            since=around.clock.monotonic(),
            started_at=around.clock.now(),
        )
        return self._open

    def _succeed(self, ask: Ask, reply: ChatReply) -> None:
        self._around.circuits.succeeded(ask.expert)
        told = reply.usage != Usage()
        whole = reply if told else replace(reply, usage=estimated_usage(self._size, reply))
        self._row(ask.expert.expert_id, detail="" if told else ESTIMATED, usage=whole.usage, ask=ask)
        self._answer = Answer(
            reply=whole,
            expert_id=ask.expert.expert_id,
            attempts=tuple(self._rows),
            usage=sum((row.usage for row in self._rows), Usage()),
            cost_usd=sum((row.cost_usd for row in self._rows), to_usd(0)),
            unsettled_usd=to_usd(self._unsettled_nano),
        )

    def _fail(self, ask: Ask, failure: CallFailed, shown: int) -> None:
        error = failure.error_class
        usage = failure.usage or Usage()
        unsettled = self._unknown_cost(ask, failure)
        self._unsettled_nano += unsettled
        self._trail = self._trail.after(
            error,
            cost_nano=unsettled + ask.expert.charge_nano(usage.input_tokens, usage.output_tokens),
            retry_after_ms=failure.retry_after_ms,
            left_ms=self._left_ms(),
        )
        # A timeout that a deadline had shortened says little about the expert.
        cut_short = error is ErrorClass.TIMEOUT and not ask.whole
        if cut_short:
            self._around.circuits.undecided(ask.expert)
        else:
            retries = self._trail.wait_ms is not None
            self._around.circuits.failed(ask.expert, error, None if retries else failure.retry_after_ms)
        detail = failure.detail
        if shown:
            self._trail = self._trail.ended(StopReason.PARTIAL)
            detail = f"{detail} after {shown} characters"
        self._row(
            ask.expert.expert_id,
            error=error,
            detail=detail,
            status=failure.status,
            usage=usage,
            ask=ask,
            unsettled_nano=unsettled,
            cut_short=cut_short,
        )

    @staticmethod
    def _unknown_cost(ask: Ask, failure: CallFailed) -> int:
        """The worst case where the provider may charge for the failed call; nothing where it told, or refused it."""
        refused = failure.status is not None and 400 <= failure.status < 500
        unknown = failure.sent and failure.usage is None and not refused
        return ask.worst_nano if unknown and REACTIONS[failure.error_class].may_cost else 0

    def _pass_over(self, expert_id: str, error: ErrorClass, detail: str) -> None:
        self._trail = self._trail.after(error, called=False)
        self._row(expert_id, error=error, detail=detail)

    def _row(
        self,
        expert_id: str,
        *,
        error: ErrorClass | None = None,
        detail: str = "",
        status: int | None = None,
        usage: Usage = Usage(),
        ask: Ask | None = None,
        unsettled_nano: int = 0,
        cut_short: bool = False,
    ) -> None:
        """Note one attempt, and report it; without `ask` no call was made."""
        clock = self._around.clock
        charge = self._around.registry[expert_id].charge_nano(usage.input_tokens, usage.output_tokens)
        attempt = Attempt(
            number=next(self._route.numbers),
            expert_id=expert_id,
            ok=error is None,
            error=error,
            detail=detail,
            status=status,
            latency_ms=0.0 if ask is None else (clock.monotonic() - ask.since) * 1000.0,
            usage=usage,
            cost_usd=to_usd(charge),
            unsettled_usd=to_usd(unsettled_nano),
            cut_short=cut_short,
            started_at=clock.now() if ask is None else ask.started_at,
        )
        self._rows.append(attempt)
        self._around.report(self._route, attempt)

    def _note_switch(self, expert: Expert) -> None:
        last = self._rows[-1] if self._rows else None
        if last is not None and last.expert_id != expert.expert_id:
            self._around.sink.emit(
                "expert_switched",
                decision_id=self._route.decision_id,
                task_type=self._route.task_type,
                from_expert=last.expert_id,
                to_expert=expert.expert_id,
                error=last.error,
            )

    def _left_ms(self) -> float | None:
        deadline = self._route.deadline
        return None if deadline is None else (deadline - self._around.clock.monotonic()) * 1000.0
