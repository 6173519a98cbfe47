"""Money and room: reserved before a call, settled after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from crew_moe.domain.budget import Ceiling, OpenCharge, Refusal, Reservation, ScopeStatus, Settlement, Window
from crew_moe.domain.meter import Busy, Demand, MeterStatus, Passage, Told

Amount = str | int | float | Decimal
"""US$; read by domain.money.parse_usd."""


class Ledger(Protocol):
    """Money of scopes: reserved before a call, settled after it. One store per implementation, one contract for all.

    For every scope with a limit, at every instant and over all who open the same store: settled + reserved <= limit.
    Every method is atomic. A lease that ends unsettled is charged in full at once, for whoever looks. Raises
    InvalidInput for a malformed scope or amount, StateError when the store can't be reached.
    """

    def set_limit(self, scope: str, *, usd: Amount | None, window: Window | str | None = None) -> ScopeStatus:
        """Give a scope a limit of its own; None takes it away. The window stays what it was (first: total)."""

    def top_up(self, scope: str, *, usd: Amount, adopt: bool = False) -> ScopeStatus:
        """Raise the limit of a scope by an amount. Raises InvalidInput for a scope without a limit of its own; with
        `adopt` it takes the last ceiling that a call brought along for its own, and raises that.
        """

    def reserve(
        self,
        scopes: Sequence[str],
        *,
        usd: Amount,
        lease_s: float = 60.0,
        ceilings: Mapping[str, Ceiling] | None = None,
        note: str = "",
    ) -> Reservation | Refusal:
        """Put an amount aside in all scopes at once, or in none. An amount of 0 is never refused."""

    def reserve_group(
        self,
        scopes: Sequence[str],
        *,
        usd: Sequence[Amount],
        lease_s: float = 60.0,
        ceilings: Mapping[str, Ceiling] | None = None,
        note: str = "",
    ) -> tuple[Reservation, ...] | Refusal:
        """One reservation for each amount, or none at all: for experts that answer side by side."""

    def settle(self, reservation_id: str, *, usd: Amount) -> Settlement:
        """Charge what it was and give the rest back, in the windows that opened it. The first settlement holds; one
        that comes after the lease ended puts the automatic charge right. Raises UnknownReservation.
        """

    def release(self, reservation_id: str) -> Settlement:
        """Give all of it back: the call was never charged for."""

    def renew(self, reservation_id: str, *, lease_s: float = 60.0) -> Reservation:
        """A longer lease, counted from now; never a shorter one. Raises InvalidInput when it has ended."""

    def charge(
        self,
        charge_id: str,
        scopes: Sequence[str],
        *,
        usd: Amount,
        ceilings: Mapping[str, Ceiling] | None = None,
        note: str = "",
    ) -> Settlement:
        """Book what somebody else spent already; once per id. What passes a limit is overrun."""

    def status(self, scope: str) -> ScopeStatus: ...

    def statuses(self) -> Sequence[ScopeStatus]:
        """Every scope that the store knows, by name."""

    def open_charges(self, scope: str | None = None) -> Sequence[OpenCharge]:
        """Reservations that are held or lapsed, oldest first."""

    def reconcile(self, scope: str | None = None) -> Sequence[ScopeStatus]:
        """Somebody has looked: lift the block that an overrun put on a scope (None: on all, and reopen a store that
        lost data). What was spent stays spent; gives the scopes that were blocked.
        """

    def close(self) -> None: ...


class Meters(Protocol):
    """Token buckets and places, shared by all who open the same store; for providers' limits and for cooldowns."""

    def take(self, demands: Sequence[Demand], now: datetime, *, lease_s: float = 600.0) -> Passage | Busy:
        """Take from all meters at once, or from none. Places whose lease ends are free again."""

    def give_back(self, passage_id: str, now: datetime, *, used: Mapping[str, float] | None = None) -> None:
        """Free the places; where `used` tells the true amount of a rate, return the rest, or take what was more.
        An unknown or ended passage is left alone.
        """

    def tell(self, key: str, told: Sequence[Told], now: datetime) -> None:
        """Take what a provider said of its limits: levels only ever fall by it, a capacity is adopted."""

    def close_until(self, key: str, until: datetime, now: datetime) -> None:
        """Nothing passes before `until`; never shortens."""

    def busy(self, now: datetime, *, kind: str) -> Mapping[str, datetime]:
        """Meters of one kind (what stands before the first colon of a key) that not even one unit can pass now, and
        when each has room again. Cheap enough to be asked for every snapshot.
        """

    def status(self, key: str, now: datetime) -> MeterStatus: ...

    def close(self) -> None: ...
