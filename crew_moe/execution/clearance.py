"""Whether one expert may be called now: the gate's word, room at the provider, and the money for its worst case.

In this order, and all or nothing: what was taken before a refusal is given back. A person's approval, which is good
once, is used up last, so that no want of room or money spends it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from crew_moe.domain.budget import OnExhausted, Refusal, RefusalReason, Reservation
from crew_moe.domain.expert import Expert, Tier
from crew_moe.domain.meter import Busy, Passage, Told
from crew_moe.domain.money import to_nano, to_usd
from crew_moe.domain.outcome import ErrorClass
from crew_moe.domain.usage import Usage
from crew_moe.domain.verdict import GateContext, Ruling, Verdict
from crew_moe.errors import StateError
from crew_moe.execution.cashier import Cashier
from crew_moe.execution.errand import Errand
from crew_moe.execution.overdraft import Overdraft
from crew_moe.execution.turnstile import Turnstile
from crew_moe.gating.approval import CHECK as APPROVAL
from crew_moe.gating.gatekeeper import Admission, Gatekeeper
from crew_moe.ports import Clock

RECUTS: Final = 3  # how often an answer is shortened to what a budget has left, while others spend from it too


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """One call that somebody wants to make: sizes in tokens; `cap` is the longest answer, `least` the shortest.

    `audio` and `images` tell whether it has any.
    """

    expert: Expert
    errand: Errand
    bound: int
    estimate: int
    cap: int
    least: int
    time_s: float
    note: str
    audio: bool = False
    images: bool = False

    def worst_nano(self, cap: int) -> int:
        """The most that the call may cost with an answer of `cap` tokens, in nano-USD."""
        return self.expert.worst_nano(self.bound, cap, audio=self.audio, images=self.images)

    def room(self, left_nano: int) -> int | None:
        """The longest answer that this much money pays for; None: answers are free."""
        return self.expert.output_room(left_nano, self.bound, audio=self.audio, images=self.images)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearance:
    """The call may be made, with an answer of `cap` tokens at most. `note` says who let it pass, if somebody did."""

    cap: int
    worst_nano: int
    note: str = ""
    admission: Admission | None = None
    passage: Passage | None = None
    reservation: Reservation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """How a decision made anew could pass: with experts up to a tier, or for this much money."""

    max_tier: Tier | None = None
    budget_usd: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """The call may not be made (now), and why.

    `room_ms` is when a provider has room again, `approval_id` names the question to a person that the call waits for.
    `final` where nobody else is to be tried, `declined` where a person said no: nobody of that tier is to be tried.
    """

    error: ErrorClass
    detail: str
    room_ms: float | None = None
    approval_id: str | None = None
    remedy: Remedy | None = None
    final: bool = False
    declined: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Barrier:
    """Clears calls, and closes what it opened for them."""

    cashier: Cashier
    turnstile: Turnstile
    gatekeeper: Gatekeeper
    clock: Clock

    def clear(self, asking: Asking) -> Clearance | Withheld:
        """Everything that the call needs, or why it must not be made."""
        admission = self._admit(asking)
        if isinstance(admission, Withheld):
            return admission
        passage = self.turnstile.enter(
            asking.expert, input_tokens=asking.estimate, output_tokens=asking.cap, time_s=asking.time_s
        )
        if isinstance(passage, Busy):
            self._leave(admission, made=False)
            return self._no_room(passage)
        reserved = self._reserve(asking)
        found = self._without_money(asking, reserved) if isinstance(reserved, Refusal) else reserved
        if isinstance(found, Withheld):
            self.turnstile.withdraw(passage)
            self._leave(admission, made=False)
            return found
        cleared = replace(found, admission=admission, passage=passage)
        verdict = None if admission is None else self.gatekeeper.redeem(admission)
        if verdict is None or verdict.allowed:
            return replace(cleared, note=found.note or self._approved(admission))
        self.withdraw(cleared)
        return _withheld(verdict)

    def withdraw(self, clearance: Clearance) -> None:
        """The call was never made: nobody charges for it."""
        self.cashier.release(clearance.reservation)
        self.turnstile.withdraw(clearance.passage)
        self._leave(clearance.admission, made=False)

    def close(self, clearance: Clearance, *, charge_nano: int | None, usage: Usage | None) -> None:
        """The call is over. `charge_nano` None: nobody knows what it cost; the lease charges it at its worst."""
        if charge_nano is not None:
            self.cashier.settle(clearance.reservation, charge_nano)
        self.turnstile.leave(clearance.passage, usage)
        self._leave(clearance.admission, made=True)

    def keep(self, clearance: Clearance, *, time_s: float) -> None:
        """The call is still under way."""
        self.cashier.renew(clearance.reservation, time_s=time_s)

    def told(self, expert: Expert, told: tuple[Told, ...], retry_after_ms: float | None) -> None:
        """What the provider said of its limits."""
        self.turnstile.told(expert, told)
        self.turnstile.closed(expert, retry_after_ms)

    def _admit(self, asking: Asking) -> Admission | Withheld | None:
        """The gate's admission; None where nobody has to ask it."""
        context = self._context(asking)
        if context is None:
            return None
        admission = self.gatekeeper.admit(replace(context, left=self.cashier.left(asking.errand)))
        return admission if admission.allowed else _withheld(admission.verdict)

    def _context(self, asking: Asking) -> GateContext | None:
        """What the gate is told, with this expert and the most that the call may cost."""
        context, expert = asking.errand.context, asking.expert
        if context is None:
            return None
        return replace(
            context,
            expert_id=expert.expert_id,
            provider=expert.provider,
            tier=expert.tier,
            max_cost_usd=max(context.max_cost_usd, to_usd(asking.worst_nano(asking.cap))),
            now=self.clock.now(),
            time_s=asking.time_s,
        )

    def _reserve(self, asking: Asking) -> Clearance | Refusal:
        """Money for the worst case; the answer is cut to what is left, never below the least that is worth a call."""
        cap, tries = asking.cap, 0
        while True:
            worst, tries = asking.worst_nano(cap), tries + 1
            found = self.cashier.reserve(asking.errand, worst, time_s=asking.time_s, note=asking.note)
            if not isinstance(found, Refusal):
                return Clearance(cap=cap, worst_nano=worst, reservation=found)
            room = asking.room(to_nano(found.available))
            hopeless = found.reason is not RefusalReason.LIMIT or room is None or room < asking.least
            if hopeless or tries > RECUTS:
                return found
            cap = min(room or 0, cap - 1)

    def _without_money(self, asking: Asking, refusal: Refusal) -> Clearance | Withheld:
        """What the policy says of a call that finds no room in a budget."""
        rule = self.cashier.policy.rule(refusal.scope)
        exhausted = self.cashier.policy.on_exhausted if rule is None else rule.on_exhausted
        within = refusal.reason is RefusalReason.LIMIT
        context = self._context(asking)
        if exhausted is OnExhausted.HOLD and within and context is not None:
            overdraft = Overdraft(cashier=self.cashier, gatekeeper=self.gatekeeper)
            verdict = overdraft.lend(context, refusal, said(refusal), asking.worst_nano(asking.cap))
            found = self._reserve(asking) if verdict.allowed else None
            if isinstance(found, Clearance):
                return replace(found, note=verdict.reason)
            return _withheld(verdict) if found is None else _short(found)
        downgrade = exhausted is OnExhausted.DOWNGRADE and within
        closed = refusal.reason is RefusalReason.CLOSED  # experts without a price go on
        remedy = Remedy(budget_usd=refusal.available) if downgrade else None
        return replace(_short(refusal), remedy=remedy, final=exhausted is OnExhausted.DENY and not closed)

    def _no_room(self, busy: Busy) -> Withheld:
        wait_ms = max(1.0, (busy.until - self.clock.now()).total_seconds() * 1000.0)
        detail = f"its provider has no room for more {busy.rate.replace('_', ' ')} until {busy.until:%H:%M:%S} UTC"
        return Withheld(error=ErrorClass.NO_ROOM, detail=detail, room_ms=wait_ms)

    def _approved(self, admission: Admission | None) -> str:
        if admission is None or admission.approval_id is None:
            return ""
        try:
            found = self.gatekeeper.desk.get(admission.approval_id)
        except StateError:
            found = None
        return "" if found is None else f"approved by {found.decided_by}"

    def _leave(self, admission: Admission | None, *, made: bool) -> None:
        if admission is not None:
            self.gatekeeper.leave(admission, made=made)


def said(refusal: Refusal) -> str:
    """A refusal in words."""
    match refusal.reason:
        case RefusalReason.CLOSED:
            return "the ledger can't be reached or has lost data: nothing may be spent"
        case RefusalReason.OVERRUN:
            return f"{refusal.scope} is blocked after an overrun until it is reconciled"
        case _:
            return f"{refusal.scope} has ${refusal.available:f} left of ${refusal.limit:f}"


def _short(refusal: Refusal) -> Withheld:
    return Withheld(error=ErrorClass.OVER_BUDGET, detail=said(refusal))


def _withheld(verdict: Verdict) -> Withheld:
    """What the gate's verdict means for the call; the tier of a held one is what it may use when nobody answers."""
    return Withheld(
        error=ErrorClass.DENIED if verdict.approval_id is None else ErrorClass.HELD,
        detail=f"{verdict.check}: {verdict.reason}" if verdict.reason else verdict.check,
        approval_id=verdict.approval_id,
        remedy=None if verdict.tier is None else Remedy(max_tier=verdict.tier),
        declined=verdict.check == APPROVAL and verdict.ruling is Ruling.DENY,
    )
