"""The gate with its stores: judges a call, takes from meters, asks people, and says who may pass.

One call goes so:

1. `admit`. Not allowed: a downgrade goes on with the experts of a lower tier, a hold waits for a person and is admitted
   again, a denial ends it. `tier` of a held call is what it may use when nobody answers.
2. Everything else that may stop the call: room, money. Where it does, `leave(admission, made=False)`.
3. `redeem`, just before the call goes out: it uses up what a person has approved, so that nothing else spends it.
4. `leave(admission, made=True)` when the call is over, whatever came of it.

`admit_at_once` does the first and the third, `admit_within` waits in between.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

from crew_moe.domain.approval import Approval, ApprovalState
from crew_moe.domain.meter import Busy, Passage
from crew_moe.domain.verdict import GateContext, Ruling, Verdict
from crew_moe.errors import StateError
from crew_moe.gating.approval import CHECK, Desk
from crew_moe.gating.consequence import ALLOWED, OnHoldTimeout, lowered
from crew_moe.gating.gate import GATE, Gate, Take, crowded
from crew_moe.ports import Clock, EventSink, Meters
from crew_moe.state.meter import MAX_LEASE_S

LEASE_S: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The verdict on one call, what it took of meters, and the approval that `redeem` is going to use up."""

    verdict: Verdict
    context: GateContext
    passage: Passage | None = None
    rates: tuple[str, ...] = ()
    approval_id: str | None = None

    @property
    def allowed(self) -> bool:
        return self.verdict.allowed


class Gatekeeper:
    """Lets calls pass or not; where a store can't be reached, not. Safe for threads.

    All who share the stores share counts and answers. Places are free again after `lease_s` at the latest, or twice the
    time that a call may take.
    """

    def __init__(
        self,
        gate: Gate,
        *,
        meters: Meters,
        desk: Desk,
        clock: Clock,
        sink: EventSink,
        on_hold_timeout: OnHoldTimeout = OnHoldTimeout.DOWNGRADE,
        lease_s: float = LEASE_S,
    ) -> None:
        self.gate = gate
        self.desk = desk
        self.meters = meters
        self.clock = clock
        self._sink = sink
        self._on_hold_timeout = on_hold_timeout
        self._lease_s = lease_s

    def admit(self, context: GateContext) -> Admission:
        """Whether this call may go out now. A hold names the approval to wait for; asking again asks nobody twice."""
        try:
            admission = self._admit(context)
        except StateError as error:
            admission = Admission(verdict=self._unreachable(context, error), context=context)
        self._tell(admission)
        return admission

    def redeem(self, admission: Admission) -> Verdict:
        """Use up what a person has approved; ALLOWED where nobody had to."""
        if admission.approval_id is None:
            return admission.verdict
        try:
            return self.desk.redeem(admission.context, admission.approval_id)
        except StateError as error:
            return self._unreachable(admission.context, error)

    def leave(self, admission: Admission, *, made: bool) -> None:
        """Free the places; a call that was not made gets its share of the cooldowns back. Never raises."""
        if admission.passage is None:
            return
        used = None if made else dict.fromkeys(admission.rates, 0.0)
        try:
            self.meters.give_back(admission.passage.id, self.clock.now(), used=used)
        except StateError as error:  # the lease ends by itself
            self._sink.emit("gate_not_left", decision_id=admission.context.decision_id, error=str(error))

    def admit_at_once(self, context: GateContext) -> Admission:
        """Admit and redeem; a held call stays held."""
        return self._redeemed(self.admit(context))

    async def aadmit_at_once(self, context: GateContext) -> Admission:
        """As `admit_at_once`, on an event loop; the stores are asked on a thread. Cancelled, it has taken nothing."""
        return await self._off_loop(partial(self.admit_at_once, context))

    def admit_within(
        self, context: GateContext, *, until: datetime, sleep: Callable[[float], None] = time.sleep
    ) -> Admission:
        """Admit and redeem; a held call waits for its answer until then, and goes on as the policy says without one."""
        admission = self.admit(context)
        while (asked := admission.verdict.approval_id) is not None:
            try:
                found = self.desk.wait(asked, until=until, sleep=sleep)
            except StateError:
                found = None
            admission = self._after(admission, found)
        return self._redeemed(admission)

    async def aadmit_within(
        self,
        context: GateContext,
        *,
        until: datetime,
        sleep: Callable[[float], Awaitable[None]] | None = None,
    ) -> Admission:
        """As `admit_within`, on an event loop; the stores are asked on a thread. Cancelled, it has taken nothing."""
        admission = await self._off_loop(partial(self.admit, context))
        while (asked := admission.verdict.approval_id) is not None:
            try:
                found = await self.desk.await_answer(asked, until=until, sleep=sleep)
            except StateError:
                found = None
            admission = await self._off_loop(partial(self._after, admission, found))
        return await self._off_loop(partial(self._redeemed, admission))

    async def _off_loop(self, act: Callable[[], Admission]) -> Admission:
        """An admission made on a thread; its places are free again if nobody waits for it any more."""
        from crew_moe.gating.off_loop import off_loop  # here, for deciding alone loads none of it

        return await off_loop(act, undo=partial(self.leave, made=False))

    def _admit(self, context: GateContext) -> Admission:
        judgement = self.gate.judge(context)
        verdict, takes = judgement.verdict, judgement.takes
        if verdict.ruling is Ruling.HOLD and judgement.once_approved.allowed:
            return self._ask(verdict, context, takes, judgement.approvers)
        if verdict.ruling is Ruling.HOLD:
            # Even a yes would end in this. Nobody is asked in vain; the expert of the lower tier is judged anew.
            verdict = judgement.once_approved
        if not verdict.allowed:
            return Admission(verdict=verdict, context=context)
        admission = self._take(context, takes)
        if admission.verdict.ruling is not Ruling.HOLD:
            return admission
        full = next(take for take in takes if take.check.name == admission.verdict.check)
        others = [take for take in takes if not take.may_ask]
        return self._ask(admission.verdict, context, others, self.gate.lifters(full.check.otherwise))

    def _ask(self, held: Verdict, context: GateContext, takes: Sequence[Take], roles: tuple[str, ...]) -> Admission:
        """What a person says of this call: asked now, or before."""
        asked = self.desk.ask(context, roles=roles, reason=f"{held.check}: {held.reason}")
        if asked.state is ApprovalState.PENDING:
            instead = self._unanswered(held, context)
            return Admission(verdict=replace(held, approval_id=asked.id, tier=instead.tier), context=context)
        if asked.state is not ApprovalState.APPROVED:
            return Admission(verdict=self._refused(asked, held, context), context=context)
        admission = self._take(context, takes)
        if admission.allowed:
            return replace(admission, approval_id=asked.id)
        reason = f"approved by {asked.decided_by}, but {admission.verdict.reason}"
        verdict = replace(admission.verdict, reason=reason)
        if verdict.ruling is Ruling.HOLD:  # one yes at a time
            verdict = replace(verdict, ruling=Ruling.DENY)
        return replace(admission, verdict=verdict)

    def _take(self, context: GateContext, takes: Sequence[Take]) -> Admission:
        """Take from all meters at once. A full one whose check has nothing against this call after all stands aside."""
        takes = list(takes)
        lease_s = min(max(self._lease_s, 2 * context.time_s), MAX_LEASE_S)
        while takes:
            now = self.clock.now()
            found = self.meters.take([take.demand for take in takes], now, lease_s=lease_s)
            if not isinstance(found, Busy):
                rates = tuple({rate.name for take in takes for rate in take.demand.rates})
                return Admission(verdict=ALLOWED, context=context, passage=found, rates=rates)
            full = next(take for take in takes if take.demand.key == found.key)
            verdict = crowded(full, found, context, now)
            if not verdict.allowed:
                return Admission(verdict=verdict, context=context)
            takes.remove(full)
        return Admission(verdict=ALLOWED, context=context)

    def _after(self, held: Admission, found: Approval | None) -> Admission:
        """What follows a wait: the call is admitted again with the answer, or goes on without one."""
        if found is not None and found.state is not ApprovalState.PENDING:
            return self.admit(replace(held.context, now=self.clock.now()))
        admission = replace(held, verdict=self._unanswered(held.verdict, held.context))
        self._tell(admission)
        return admission

    def _redeemed(self, admission: Admission) -> Admission:
        verdict = self.redeem(admission)
        if verdict.allowed or not admission.allowed:
            return admission
        self.leave(admission, made=False)
        return Admission(verdict=verdict, context=admission.context)

    def _refused(self, asked: Approval, held: Verdict, context: GateContext) -> Verdict:
        """A person's no with the reason given, or what is due when nobody answered."""
        if asked.state is not ApprovalState.DENIED:
            return self._unanswered(held, context)
        why = f": {asked.why}" if asked.why else ""
        return Verdict(ruling=Ruling.DENY, check=CHECK, reason=f"denied by {asked.decided_by}{why}")

    def _unanswered(self, held: Verdict, context: GateContext) -> Verdict:
        reason = f"nobody approved in time: {held.reason}"
        late = Verdict(ruling=Ruling.DENY, check=held.check, reason=reason)
        return late if self._on_hold_timeout is OnHoldTimeout.FAIL else lowered(late, None, context)

    def _unreachable(self, context: GateContext, error: StateError) -> Verdict:
        self._sink.emit("gate_store_failed", decision_id=context.decision_id, error=str(error))
        return Verdict(ruling=Ruling.DENY, check=GATE, reason="the gate's store can't be reached")

    def _tell(self, admission: Admission) -> None:
        """Report the verdict. Questions are reported by the desk: a held call comes back here many times."""
        verdict, context = admission.verdict, admission.context
        if verdict.allowed:
            self._sink.emit("gate_allowed", expert_id=context.expert_id, decision_id=context.decision_id)
        if verdict.allowed or verdict.approval_id is not None:
            return
        self._sink.emit(
            "gate_verdict",
            ruling=verdict.ruling.value,
            check=verdict.check,
            reason=verdict.reason,
            expert_id=context.expert_id,
            decision_id=context.decision_id,
            task=context.task,
        )
