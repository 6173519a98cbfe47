"""One call on its way through its experts: what the trail decides, done to breakers, money, rows and reports.

Nothing here waits, so the same code serves threads and event loops; the executor does the waiting and the calling.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Self

from crew_moe.domain.chat import ChatReply, ChatRequest
from crew_moe.domain.expert import Capability, Expert, Tier
from crew_moe.domain.money import to_usd
from crew_moe.domain.outcome import Attempt, ErrorClass
from crew_moe.domain.policy import Limits
from crew_moe.domain.registry import Registry
from crew_moe.domain.usage import Usage
from crew_moe.errors import ExecutionFailed
from crew_moe.execution.circuits import Circuits
from crew_moe.execution.clearance import Asking, Barrier, Clearance, Remedy, Withheld
from crew_moe.execution.failure import CallFailed
from crew_moe.execution.plan import least_output, output_cap, planned
from crew_moe.execution.route import Answer, Route, never
from crew_moe.execution.spend import estimated_usage, output_bound, size_of, worst_nano
from crew_moe.execution.trail import REACTIONS, Call, Skip, Stop, StopReason, Wait
from crew_moe.ports import Clock, EventSink

ESTIMATED: Final = "usage estimated"
ASK_AGAIN_MS: Final = 200.0  # how soon a call that waits hears of a person's answer, or that nobody wants it any more

FOR_A_CHEAPER_ONE: Final = 0.25  # of the time left, when a call is held that a cheaper expert may take over


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every run of one executor shares."""

    registry: Callable[[], Registry]
    circuits: Circuits
    barrier: Barrier
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
    clearance: Clearance
    since: float
    started_at: datetime


class Run:
    """`step` until it is an Answer; tell `settle` what an Ask brought, and `waited` when a Wait is over.

    As a context manager it gives back what a call had taken, however the caller leaves an open one.
    """

    def __init__(self, around: Surroundings, route: Route, chat: ChatRequest) -> None:
        self._around = around
        self._route = route
        self._chat = chat
        self._size = size_of(chat)
        self._registry = around.registry()
        self._trail = planned(route, self._registry, around.limits)
        self._rows: list[Attempt] = []
        self._open: Ask | None = None
        self._answer: Answer | None = None
        self._unsettled_nano = 0
        self._remedy: Remedy | None = None
        self._held: str | None = None
        self._declined: Mapping[Tier, Withheld] = {}
        self._hold_until_ms: float | None = None
        self._kept_at = 0.0
        self._waiting_ms: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_up()

    @property
    def is_open(self) -> bool:
        """Whether a call is under way."""
        return self._open is not None

    @property
    def rows(self) -> tuple[Attempt, ...]:
        """The attempts that have ended."""
        return tuple(self._rows)

    def give_up(self) -> None:
        """Nobody waits any more for a call that is still open: its probes go back, its price stays unknown."""
        ask, self._open = self._open, None
        if ask is not None:
            self._around.circuits.undecided(ask.expert)
            self._around.barrier.close(ask.clearance, charge_nano=None, usage=None)
            worst, why = ask.clearance.worst_nano, "given up by the caller"
            self._row(ask.expert.expert_id, error=ErrorClass.SKIPPED, detail=why, ask=ask, unsettled_nano=worst)

    def step(self) -> Ask | Wait | Answer:
        """What the caller is to do now. Raises ExecutionFailed when there is nothing more to try."""
        while self._answer is None:
            if self._route.cancelled():
                self._trail = self._trail.ended(StopReason.CANCELLED)
            match self._trail.step(self._left_ms()):
                case Stop(reason=reason):
                    raise ExecutionFailed(self._rows, reason=self._told(reason), remedy=self._remedy)
                case Wait(ms=ms):
                    self._waiting_ms = ms if self._route.cancelled is never else min(ms, ASK_AGAIN_MS)
                    return Wait(ms=self._waiting_ms)
                case Skip() as skip:
                    self._pass_over(skip.expert_id, skip.error, skip.detail)
                case Call() as call:
                    found = self._try(call)
                    if found is not None:
                        return found
        return self._answer

    def waited(self) -> None:
        """The wait that `step` asked for is over."""
        self._trail = self._trail.waited(self._waiting_ms)

    def alive(self) -> None:
        """The open call is still bringing something: its money stays put aside."""
        ask, now = self._open, self._around.clock.monotonic()
        if ask is not None and now - self._kept_at > ask.timeout_s:
            self._around.barrier.keep(ask.clearance, time_s=ask.timeout_s)
            self._kept_at = now

    def unsent(self) -> None:
        """The call that `step` asked for was never made: everything that it had taken goes back."""
        ask, self._open = self._open, None
        if ask is not None:
            self._around.circuits.undecided(ask.expert)
            self._around.barrier.withdraw(ask.clearance)

    def settle(self, result: ChatReply | CallFailed, *, shown: int = 0) -> None:
        """What the call brought; `shown` characters of a stream have gone to the caller already."""
        ask, self._open = self._open, None
        if ask is None:
            raise RuntimeError("no call is open")
        if isinstance(result, ChatReply):
            self._succeed(ask, result)
        else:
            self._fail(ask, result, shown)

    def _try(self, call: Call) -> Ask | Wait | None:
        """Ask whether the expert may be called; None when it was passed over."""
        around = self._around
        expert = self._registry[call.expert_id]
        declined = self._declined.get(expert.tier)
        if declined is not None:
            self._pass_over(call.expert_id, declined.error, declined.detail)
            return None
        closed = around.circuits.refusing(expert)
        if closed is not None:
            self._pass_over(call.expert_id, ErrorClass.CIRCUIT_OPEN, closed)
            return None
        cleared = around.barrier.clear(self._asking(expert, call))
        if isinstance(cleared, Clearance):
            return self._ask(expert, call, cleared)
        around.circuits.undecided(expert)
        return self._withhold(call, cleared)

    def _asking(self, expert: Expert, call: Call) -> Asking:
        route, chat, limits = self._route, self._chat, self._around.limits
        return Asking(
            expert=expert,
            errand=route.errand,
            bound=self._size.bound,
            estimate=self._size.estimate,
            cap=output_cap(expert, route, chat, limits, size=self._size),
            least=least_output(expert, route, chat, limits),
            time_s=call.timeout_ms / 1000.0,
            note=route.decision_id,
            audio=self._size.audio,
            images=self._size.images > 0,
        )

    def _ask(self, expert: Expert, call: Call, clearance: Clearance) -> Ask:
        around = self._around
        self._held = None
        self._kept_at = around.clock.monotonic()
        self._note_switch(expert)
        self._open = Ask(
            expert=expert,
            request=replace(self._chat, max_output_tokens=clearance.cap),
            timeout_s=call.timeout_ms / 1000.0,
            whole=call.whole,
            clearance=clearance,
            since=self._kept_at,
            started_at=around.clock.now(),
        )
        return self._open

    def _withhold(self, call: Call, withheld: Withheld) -> Wait | None:
        """The expert may not be called now: wait for a person, or pass it over."""
        if withheld.approval_id is not None:
            return self._hold(call, withheld)
        self._held = None
        self._remedy = withheld.remedy or self._remedy
        if withheld.declined:  # whoever said no to one is not asked about another of its kind
            floor = self._asked_from(self._registry[call.expert_id].tier)
            self._declined = {tier: withheld for tier in Tier if tier.rank >= floor.rank}
        self._pass_over(call.expert_id, withheld.error, withheld.detail, room_ms=withheld.room_ms)
        if withheld.final:
            self._trail = self._trail.ended(StopReason.SPENT)
        return None

    def _asked_from(self, tier: Tier) -> Tier:
        """The lowest tier that a question about one of `tier` stands for: a task may ask from a lower one on."""
        context = self._route.errand.context
        asked = [tier] if context is None or context.approval is None else [tier, context.approval]
        return min(asked, key=lambda one: one.rank)

    def _hold(self, call: Call, withheld: Withheld) -> Wait | None:
        """Wait for a person; where a cheaper expert may take over, only as long as that one still has time."""
        left_ms = self._left_ms()
        if withheld.approval_id != self._held:
            self._held = withheld.approval_id
            share = 0.0 if withheld.remedy is None else FOR_A_CHEAPER_ONE
            self._hold_until_ms = None if left_ms is None else left_ms * share
            self._emit("call_held", call.expert_id, approval_id=self._held, reason=withheld.detail)
        if left_ms is None or self._hold_until_ms is None:
            return Wait(ms=ASK_AGAIN_MS)
        if left_ms > self._hold_until_ms:
            return Wait(ms=max(1.0, min(ASK_AGAIN_MS, left_ms - self._hold_until_ms)))
        self._remedy = withheld.remedy
        self._pass_over(call.expert_id, withheld.error, f"{withheld.detail}: nobody answered in time")
        self._trail = self._trail.ended(StopReason.HELD)
        return None

    def _succeed(self, ask: Ask, reply: ChatReply) -> None:
        self._around.circuits.succeeded(ask.expert)
        self._around.barrier.told(ask.expert, reply.limits, None)
        told = reply.usage != Usage()
        whole = reply if told else replace(reply, usage=estimated_usage(self._size, reply))
        charge = ask.expert.bill_nano(whole.usage) if told else self._untold_nano(ask, reply)
        self._around.barrier.close(ask.clearance, charge_nano=charge, usage=whole.usage)
        detail = "; ".join(filter(None, (ask.clearance.note, "" if told else ESTIMATED)))
        self._row(ask.expert.expert_id, detail=detail, usage=whole.usage, ask=ask, charge_nano=charge)
        self._answer = Answer(
            reply=whole,
            expert_id=ask.expert.expert_id,
            attempts=tuple(self._rows),
            usage=sum((row.usage for row in self._rows), Usage()),
            cost_usd=sum((row.cost_usd for row in self._rows), to_usd(0)),
            unsettled_usd=to_usd(self._unsettled_nano),
            approved=ask.clearance.admission is not None and ask.clearance.admission.approval_id is not None,
        )

    def _untold_nano(self, ask: Ask, reply: ChatReply) -> int:
        """The charge where nobody told what a call took: as much as it can have been, hidden thoughts included."""
        if Capability.REASONING in ask.expert.capabilities:
            return ask.clearance.worst_nano
        return worst_nano(ask.expert, self._size, output_bound(reply))

    def _fail(self, ask: Ask, failure: CallFailed, shown: int) -> None:
        error = failure.error_class
        usage = failure.usage or Usage()
        unknown = _is_unknown(failure)
        charge = ask.expert.bill_nano(usage)
        unsettled = ask.clearance.worst_nano if unknown else 0
        self._unsettled_nano += unsettled
        self._close(ask, failure, charge_nano=None if unknown else charge)
        self._trail = self._trail.after(error, retry_after_ms=failure.retry_after_ms, left_ms=self._left_ms())
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
            charge_nano=charge,
            unsettled_nano=unsettled,
            cut_short=cut_short,
        )

    def _close(self, ask: Ask, failure: CallFailed, *, charge_nano: int | None) -> None:
        """Give back what the failed call had taken, and take note of what its provider said of its limits."""
        barrier = self._around.barrier
        limited = failure.error_class is ErrorClass.RATE_LIMIT
        barrier.told(ask.expert, failure.limits, failure.retry_after_ms if limited else None)
        if failure.sent:
            barrier.close(ask.clearance, charge_nano=charge_nano, usage=failure.usage)
        else:
            barrier.withdraw(ask.clearance)

    def _pass_over(self, expert_id: str, error: ErrorClass, detail: str, *, room_ms: float | None = None) -> None:
        self._trail = self._trail.after(error, called=False, retry_after_ms=room_ms, left_ms=self._left_ms())
        if self._trail.wait_ms is None:  # an expert that is waited for has not been passed over
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
        charge_nano: int = 0,
        unsettled_nano: int = 0,
        cut_short: bool = False,
    ) -> None:
        """Note one attempt, and report it; without `ask` no call was made."""
        clock = self._around.clock
        attempt = Attempt(
            number=next(self._route.numbers),
            expert_id=expert_id,
            ok=error is None,
            error=error,
            detail=detail,
            status=status,
            latency_ms=0.0 if ask is None else (clock.monotonic() - ask.since) * 1000.0,
            usage=usage,
            cost_usd=to_usd(charge_nano),
            unsettled_usd=to_usd(unsettled_nano),
            cut_short=cut_short,
            started_at=clock.now() if ask is None else ask.started_at,
        )
        self._rows.append(attempt)
        self._around.report(self._route, attempt)

    def _note_switch(self, expert: Expert) -> None:
        last = self._rows[-1] if self._rows else None
        if last is not None and last.expert_id != expert.expert_id:
            self._emit("expert_switched", expert.expert_id, from_expert=last.expert_id, error=last.error)

    def _emit(self, event: str, expert_id: str, **fields: object) -> None:
        route = self._route
        self._around.sink.emit(
            event, decision_id=route.decision_id, task_type=route.task_type, to_expert=expert_id, **fields
        )

    def _told(self, reason: StopReason) -> StopReason:
        """Why there is nothing more to try, where people have a part in it."""
        if reason is StopReason.DEADLINE and self._held:
            return StopReason.HELD
        return StopReason.DECLINED if reason is StopReason.DENIED and self._declined else reason

    def _left_ms(self) -> float | None:
        deadline = self._route.deadline
        return None if deadline is None else (deadline - self._around.clock.monotonic()) * 1000.0


def _is_unknown(failure: CallFailed) -> bool:
    """Whether the provider may charge for the failed call: not where it told, or refused it."""
    refused = failure.status is not None and 400 <= failure.status < 500
    return failure.sent and failure.usage is None and not refused and REACTIONS[failure.error_class].may_cost
