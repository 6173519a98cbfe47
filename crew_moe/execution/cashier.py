"""Money on the way of a call: put aside before it, charged after it, with a warning while there is time.

Before a call everything fails closed: a ledger that can't be reached has no money. After it the answer is here and
paid: a charge that can't be written is an event, and the lease charges it in full.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, TypeVar

from crew_moe.domain.budget import (
    BudgetPolicy,
    Ceiling,
    Refusal,
    RefusalReason,
    Reservation,
    ScopeStatus,
    Settlement,
    Standing,
    Window,
)
from crew_moe.domain.money import to_usd
from crew_moe.errors import InvalidInput, StateError, UnknownReservation
from crew_moe.execution.errand import Errand
from crew_moe.ports import Clock, EventSink, Ledger
from crew_moe.state.ledger_input import MAX_LEASE_S

GRACE_S: Final = 30.0  # between the end of a call's time and the moment when its money counts as spent
LEAST_ELAPSED: Final = 0.05  # of a window, before its burn rate tells anything
BURN_FROM: Final = 0.25  # share of the limit below which no burn rate is worth a warning
MAX_WARNED: Final = 10_000

Warned = tuple[str, str, Window, object]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cashier:
    """Reserves, settles and releases for errands, and emits each warning once per scope and window."""

    ledger: Ledger
    policy: BudgetPolicy
    clock: Clock
    sink: EventSink
    _warned: dict[Warned, None] = field(default_factory=dict, repr=False)

    def reserve(self, errand: Errand, nano: int, *, time_s: float, note: str) -> Reservation | Refusal | None:
        """Put the worst case of a call aside that may take `time_s`; None when nobody has to pay."""
        if not errand.scopes or nano == 0:
            return None
        try:
            found = self.ledger.reserve(
                errand.scopes, usd=to_usd(nano), lease_s=_lease_s(time_s), ceilings=errand.ceilings, note=note
            )
        except StateError as error:
            self.sink.emit("ledger_lost", error=str(error))
            return Refusal(
                scope=errand.scopes[0], limit=None, available=Decimal(0), reason=RefusalReason.CLOSED, retry_at=None
            )
        return found

    def settle(self, reservation: Reservation | None, nano: int) -> None:
        """Charge what the call has cost; the rest is free again. A ledger that lost the reservation is charged anew."""
        if reservation is not None:
            settled = self._after(reservation, lambda: self._settled(reservation, nano))
            if settled is None:
                return
            if settled.overrun_usd:
                self.sink.emit("budget_overrun", scopes=reservation.scopes, overrun_usd=str(settled.overrun_usd))
            # Looked at here and not before the call: the worst case of one call may be much of a small budget.
            self._look(settled.standings)

    def _settled(self, reservation: Reservation, nano: int) -> Settlement:
        try:
            return self.ledger.settle(reservation.id, usd=to_usd(nano))
        except UnknownReservation:
            return self.ledger.charge(reservation.id, reservation.scopes, usd=to_usd(nano))

    def release(self, reservation: Reservation | None) -> None:
        """Give all of it back: nobody charges for the call."""
        if reservation is not None:
            self._after(reservation, lambda: self.ledger.release(reservation.id))

    def renew(self, reservation: Reservation | None, *, time_s: float) -> None:
        """Keep the money of a call that is still under way."""
        if reservation is not None:
            self._after(reservation, lambda: self.ledger.renew(reservation.id, lease_s=_lease_s(time_s)))

    def raise_limit(self, scope: str, nano: int) -> None:
        """Let a scope spend so much more. One that had the policy's limit has a limit of its own from now on.

        Raises StateError.
        """
        after = self.ledger.top_up(scope, usd=to_usd(nano), adopt=True)
        self.sink.emit("budget_raised", scope=scope, by_usd=str(to_usd(nano)), limit_usd=str(after.limit_usd))

    def left(self, errand: Errand) -> float | None:
        """The share (0-1) that the tightest limit has left; None where nothing is limited."""
        try:
            found = [self.ledger.status(scope) for scope in errand.scopes]
        except StateError as error:
            self.sink.emit("ledger_lost", error=str(error))
            return 0.0
        shares = [_share(one, errand.ceilings.get(one.scope)) for one in found]
        return min((share for share in shares if share is not None), default=None)

    def _after(self, reservation: Reservation, act: Callable[[], T]) -> T | None:
        try:
            return act()
        except (InvalidInput, StateError, UnknownReservation) as error:  # the first of a lease that has ended
            self.sink.emit("charge_not_written", reservation=reservation.id, error=str(error))
            return None

    def _look(self, standings: tuple[Standing, ...]) -> None:
        """Warn of limits that are nearly used up, or will be before their window ends."""
        for standing in standings:
            rule = self.policy.rule(standing.scope)
            used = standing.used_nano / standing.limit_nano if standing.limit_nano else 1.0
            if used >= (self.policy.warn_at if rule is None else rule.warn_at):
                self._warn("budget_soft_limit", standing, used)
            elif used >= BURN_FROM and self._ahead(standing, used):
                self._warn("budget_burn_rate", standing, used)

    def _ahead(self, standing: Standing, used: float) -> bool:
        """Whether spending at this pace passes the limit before the window ends."""
        if standing.ends_at is None:
            return False
        elapsed = (self.clock.now() - standing.opened_at) / (standing.ends_at - standing.opened_at)
        return LEAST_ELAPSED <= elapsed < used

    def _warn(self, event: str, standing: Standing, used: float) -> None:
        key = (event, standing.scope, standing.window, standing.opened_at)
        if key in self._warned:
            return
        if len(self._warned) >= MAX_WARNED:
            self._warned.clear()
        self._warned[key] = None
        self.sink.emit(
            event,
            scope=standing.scope,
            used=round(used, 4),
            limit_usd=str(to_usd(standing.limit_nano)),
            window=standing.window.value,
            ends_at=None if standing.ends_at is None else standing.ends_at.isoformat(),
        )


def _lease_s(time_s: float) -> float:
    """How long the money of a call is held that may take `time_s`; a longer one keeps it by `renew`."""
    return min(time_s + GRACE_S, MAX_LEASE_S)


def _share(status: ScopeStatus, ceiling: Ceiling | None) -> float | None:
    """The share of its limit that a scope has left; one that was never charged may have none but the ceiling yet."""
    left = status.available_usd
    if left is None or not status.limit_usd:
        return None if ceiling is None else 1.0
    return float(left / status.limit_usd)
