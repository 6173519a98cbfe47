"""The desk: questions to people about single calls, and what may be done with their answers.

An approval is good for one request of one person, one expert and one price, once, for a while. Every question, answer
and use leaves a row in the log, with who and why; nothing here ever holds the text of a request.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Final, Protocol

from crew_moe.domain.approval import Approval, ApprovalState
from crew_moe.domain.money import to_nano
from crew_moe.domain.principal import Principal
from crew_moe.domain.verdict import GateContext, Ruling, Verdict
from crew_moe.gating.answer import Answer, Outcome, judged, look_up
from crew_moe.gating.consequence import ALLOWED
from crew_moe.gating.names import shown
from crew_moe.gating.question import audit_row, bound, summary_of
from crew_moe.ports import Approvals, Clock, DecisionLog, EventSink
from crew_moe.state.approval import new_approval_id

CHECK: Final = "approval"
POLL_S: Final = 0.25
MAX_WHY_CHARS: Final = 500
MAX_REMEMBERED: Final = 10_000
_OPEN: Final = frozenset({ApprovalState.PENDING, ApprovalState.APPROVED})


class Approver(Protocol):
    """Brings a question to people, who answer through the desk: a console, a channel. It must not wait."""

    def asked(self, approval: Approval) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Somebody at this machine whom the rights to the store vouch for: roles are not asked of him."""

    name: str


class _Memory:
    """The newest questions that were asked here, by the call that they are about."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._ids: OrderedDict[tuple[str, str], str] = OrderedDict()

    def of(self, key: tuple[str, str]) -> str | None:
        return self._ids.get(key)

    def keep(self, key: tuple[str, str], approval_id: str) -> None:
        with self._lock:
            self._ids[key] = approval_id
            while len(self._ids) > MAX_REMEMBERED:
                self._ids.popitem(last=False)

    def drop(self, key: tuple[str, str]) -> None:
        with self._lock:
            self._ids.pop(key, None)


class Desk:
    """Asks, takes answers, and lets each be used once. `approvers` are told of every new question.

    Two desks over one store are one desk. Raises StateError when the store can't be reached.
    """

    def __init__(
        self,
        approvals: Approvals,
        *,
        clock: Clock,
        log: DecisionLog,
        sink: EventSink,
        ttl_s: float = 900.0,
        approvers: Iterable[Approver] = (),
    ) -> None:
        self._approvals = approvals
        self._clock = clock
        self._log = log
        self._sink = sink
        self._ttl = timedelta(seconds=ttl_s)
        self._approvers = list(approvers)
        self._memory = _Memory()

    def attach(self, approver: Approver) -> None:
        """Tell this one too of new questions."""
        self._approvers.append(approver)

    def ask(self, context: GateContext, *, roles: Iterable[str] = (), reason: str = "") -> Approval:
        """The question about this call, asked now or before (by whichever process), with its answer if there is one.

        A no holds as long as the question would have stood, for the process that asked; that nobody answered is told
        once. `roles` may answer (none: everybody but who asks), `reason` says what made the question necessary.
        """
        now, who = self._clock.now(), tuple(sorted(roles))
        known = self._known(context, who, now)
        if known is not None:
            return known
        fresh = Approval(
            id=new_approval_id(),
            digest=bound(context, who),
            expert_id=context.expert_id,
            max_cost_nano=to_nano(context.max_cost_usd),
            state=ApprovalState.PENDING,
            summary=summary_of(context, reason),
            roles=who,
            tenant=context.tenant,
            asked_by=context.user,
            task=context.task,
            decision_id=context.decision_id,
            created_at=now,
            expires_at=now + self._ttl,
        )
        asked = self._approvals.ask(fresh)
        self._memory.keep((asked.digest, asked.expert_id), asked.id)
        if asked.id == fresh.id:
            self._audit("approval_asked", asked, roles=list(asked.roles), summary=asked.summary)
            self._tell(asked)
        return asked

    def answer(self, approval_id: str, *, approve: bool, by: Principal | Operator, why: str = "") -> Answer:
        """Answer a question by its id, or by the first characters of it (6 at least).

        Never raises for what a person may get wrong: `Answer.outcome` says what became of it. An approver needs one of
        the roles that the approval names and its tenant, and nobody answers his own question.
        """
        now = self._clock.now()
        found = look_up(self._approvals, approval_id, now)
        name = by.name if isinstance(by, Operator) else by.subject
        verdict = judged(found, name, by if isinstance(by, Principal) else None)
        if verdict.outcome is not Outcome.TAKEN or verdict.approval is None:
            known = "" if verdict.approval is None else verdict.approval.id
            self._sink.emit("approval_answer_refused", approval_id=known, by=name, outcome=verdict.outcome.value)
            return verdict
        result = self._approvals.answer(
            verdict.approval.id, approve=approve, by=name, why=shown(why, MAX_WHY_CHARS), now=now
        )
        if result is None:
            return Answer(outcome=Outcome.UNKNOWN)
        if (result.decided_by, result.decided_at) != (name, now):  # another answer came first
            return judged(result, name, None, anew=False)
        self._audit("approval_answered", result, state=result.state.value, by=name, why=result.why)
        return Answer(outcome=Outcome.TAKEN, approval=result)

    def redeem(self, context: GateContext, approval_id: str) -> Verdict:
        """Use an approval up for exactly this call: ALLOWED once, a denial for anything else."""
        known = self.get(approval_id)
        good = known is not None and self._approvals.use(
            approval_id,
            digest=bound(context, known.roles),
            expert_id=context.expert_id,
            max_cost_nano=to_nano(context.max_cost_usd),
            now=self._clock.now(),
        )
        if known is None or not good:
            reason = "no approval of this request, expert and price is open"
            return Verdict(ruling=Ruling.DENY, check=CHECK, reason=reason)
        self._audit("approval_used", known, by=known.decided_by, why=known.why)
        return ALLOWED

    def pending(self) -> tuple[Approval, ...]:
        """Questions that wait for an answer, oldest first."""
        return tuple(self._approvals.pending(self._clock.now()))

    def get(self, approval_id: str) -> Approval | None:
        return self._approvals.get(approval_id, self._clock.now())

    def wait(
        self, approval_id: str, *, until: datetime, sleep: Callable[[float], None] = time.sleep
    ) -> Approval | None:
        """The approval when it is no longer pending, or as it is at `until`; None if it is unknown."""
        ends = self._ends(until)
        while True:
            found, pause = self._look(approval_id, ends)
            if pause <= 0:
                return found
            sleep(pause)

    async def await_answer(
        self, approval_id: str, *, until: datetime, sleep: Callable[[float], Awaitable[None]] | None = None
    ) -> Approval | None:
        """As `wait`, on an event loop."""
        import asyncio  # here, for deciding alone loads none of it

        pauses = sleep or asyncio.sleep
        ends = self._ends(until)
        while True:
            found, pause = await asyncio.to_thread(self._look, approval_id, ends)
            if pause <= 0:
                return found
            await pauses(pause)

    def _known(self, context: GateContext, roles: tuple[str, ...], now: datetime) -> Approval | None:
        """What became of the question as it was asked here before; None where it has to be asked (anew)."""
        key = (bound(context, roles), context.expert_id)
        approval_id = self._memory.of(key)
        found = None if approval_id is None else self._approvals.get(approval_id, now)
        if found is None or found.max_cost_nano < to_nano(context.max_cost_usd):
            return None
        if found.state in _OPEN or (found.state is ApprovalState.DENIED and now < found.expires_at):
            return found
        self._memory.drop(key)
        return found if found.state is ApprovalState.EXPIRED else None

    def _ends(self, until: datetime) -> float:
        """`until` on the clock that never jumps."""
        return self._clock.monotonic() + (until - self._clock.now()).total_seconds()

    def _look(self, approval_id: str, ends: float) -> tuple[Approval | None, float]:
        """The approval, and how long to wait before the next look; 0 where there is nothing to wait for."""
        found = self.get(approval_id)
        waits = found is not None and found.state is ApprovalState.PENDING
        return found, min(POLL_S, ends - self._clock.monotonic()) if waits else 0.0

    def _tell(self, approval: Approval) -> None:
        for approver in self._approvers:
            try:
                approver.asked(approval)
            except Exception as error:  # noqa: BLE001 - foreign code: the question stands, and others may answer it
                name = type(approver).__name__
                self._sink.emit("approver_failed", approval_id=approval.id, approver=name, error=type(error).__name__)

    def _audit(self, kind: str, approval: Approval, **fields: Any) -> None:
        row = audit_row(kind, approval, self._clock.now(), fields)
        self._log.append(f"{approval.id}/{kind}", lambda: row)
        self._sink.emit(kind, approval_id=approval.id, decision_id=approval.decision_id, expert_id=approval.expert_id)
