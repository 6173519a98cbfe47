"""The ledger that hosts share: one Redis database, one Lua script for each operation.

Time is that of Redis, and never goes back. All keys lie in one hash slot, of a cluster too: one reservation may touch
scopes of any names, and one clock, one list of leases and one epoch are what makes a loss of any part known to all.

Lost data must not look like unspent money. The ledger has an epoch, made when it was empty, and a sequence that grows
with every write; whoever uses it remembers both. When somebody finds another epoch, none, or a smaller sequence (a
database that was flushed, replaced, or restored from an older copy), the ledger is closed for all: amounts above 0 are
refused with the reason `closed` until `reconcile()`, which gives it a new epoch. Those who were last in touch before
that take the new epoch as it is. Limits may be among what was lost, so whoever reconciles sees to them too. A loss
that nobody alive remembers goes unnoticed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from secrets import token_hex
from typing import Final, NamedTuple

from crew_moe.domain.budget import (
    Ceiling,
    OpenCharge,
    Refusal,
    Reservation,
    ScopeStatus,
    Settlement,
    Window,
    scope_kind,
)
from crew_moe.domain.money import MAX_USD, NANO, parse_usd, to_usd
from crew_moe.errors import InvalidInput, UnknownReservation
from crew_moe.ports import Amount, Clock
from crew_moe.state import ledger_input as given
from crew_moe.state.accounts import MAX_CARRIED
from crew_moe.state.redis import ledger_rows as rows
from crew_moe.state.redis.connection import PREFIX, Value
from crew_moe.state.redis.durability import require_durable
from crew_moe.state.redis.ledger_rows import Rows, limbs
from crew_moe.state.redis.ledger_scripts import ledger_script
from crew_moe.state.redis.line import Line

ROOT: Final = PREFIX + "{budget}:"
ID_BYTES: Final = 16


class Mark(NamedTuple):
    """What a client saw last: the ledger's epoch, its sequence and its time in microseconds."""

    epoch: str
    sequence: int
    us: int


class RedisLedger:
    """Implements ports.Ledger for all who open the same database; safe for threads and forks.

    Opening raises StateError for a server that may lose what it acknowledged (see durability). A server that can't be
    reached raises StateError within two seconds, and is used again when it is back; a reservation whose answer was
    lost on the way may have been made, and lapses into a charge. Endings are known for a day, lapsed charges for 31.
    """

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        self._clock = clock
        self._line = Line(url, require_durable)
        self._mark = Mark(token_hex(ID_BYTES), 0, 0)
        self._ask("open")

    def set_limit(self, scope: str, *, usd: Amount | None, window: Window | str | None = None) -> ScopeStatus:
        amount = ("", "") if usd is None else limbs(given.nano_of(usd))
        return self._limit(scope, "set", amount, "" if window is None else given.window_of(window))

    def top_up(self, scope: str, *, usd: Amount) -> ScopeStatus:
        return self._limit(scope, "raise", limbs(given.nano_of(usd)), "")

    def reserve(
        self,
        scopes: Sequence[str],
        *,
        usd: Amount,
        lease_s: float = 60.0,
        ceilings: Mapping[str, Ceiling] | None = None,
        note: str = "",
    ) -> Reservation | Refusal:
        found = self._reserve(given.order_of(scopes, (usd,), lease_s, ceilings, note))
        return found if isinstance(found, Refusal) else found[0]

    def reserve_group(
        self,
        scopes: Sequence[str],
        *,
        usd: Sequence[Amount],
        lease_s: float = 60.0,
        ceilings: Mapping[str, Ceiling] | None = None,
        note: str = "",
    ) -> tuple[Reservation, ...] | Refusal:
        return self._reserve(given.order_of(scopes, usd, lease_s, ceilings, note))

    def settle(self, reservation_id: str, *, usd: Amount) -> Settlement:
        return self._finish(reservation_id, "settled", given.nano_of(usd))

    def release(self, reservation_id: str) -> Settlement:
        return self._finish(reservation_id, "released", 0)

    def renew(self, reservation_id: str, *, lease_s: float = 60.0) -> Reservation:
        key, lease = given.reservation_key(reservation_id), given.lease_of(lease_s)
        verdict, found = self._ask("renew", key, rows.duration_us(lease))
        if verdict == "unknown":
            raise UnknownReservation(key)
        if verdict == "ended":
            why = f"reservation '{key}' can't be renewed: it is {next(found)}"
            raise InvalidInput(why, where="reservation_id")
        return rows.renewed(found, key)

    def charge(
        self,
        charge_id: str,
        scopes: Sequence[str],
        *,
        usd: Amount,
        ceilings: Mapping[str, Ceiling] | None = None,
        note: str = "",
    ) -> Settlement:
        key = given.charge_key(charge_id)
        order = given.order_of(scopes, (usd,), given.MAX_LEASE_S, ceilings, note)
        places = rows.with_ceilings(order.scopes, order.ceilings)
        verdict, found = self._ask("charge", key, *limbs(order.nanos[0]), order.note, *places)
        if verdict == "full":
            raise _too_much(next(found))
        return rows.settlement(found, key)

    def status(self, scope: str) -> ScopeStatus:
        scope_kind(scope)
        return rows.statuses(self._ask("status", scope)[1])[0]

    def statuses(self) -> Sequence[ScopeStatus]:
        return tuple(sorted(rows.statuses(self._ask("status")[1]), key=lambda status: status.scope))

    def open_charges(self, scope: str | None = None) -> Sequence[OpenCharge]:
        return tuple(rows.open_charges(self._ask("open_charges", *_chosen(scope))[1]))

    def reconcile(self, scope: str | None = None) -> Sequence[ScopeStatus]:
        """Lift the block of one scope, or of all, and without a scope open a ledger that lost data; the scopes that
        may be reserved in again.
        """
        found = rows.statuses(self._ask("reconcile", token_hex(ID_BYTES), *_chosen(scope))[1])
        return tuple(sorted(found, key=lambda status: status.scope))

    def close(self) -> None:
        self._line.close()

    def _limit(self, scope: str, how: str, amount: tuple[str, str], window: str) -> ScopeStatus:
        scope_kind(scope)
        verdict, found = self._ask("limit", scope, how, *amount, window, str(MAX_USD))
        if verdict == "unlimited":
            raise InvalidInput(f"'{scope}' has no limit of its own that could be raised", where="scope")
        if verdict == "large":
            parse_usd(to_usd(int(next(found))), where="usd")
        return rows.statuses(found)[0]

    def _reserve(self, order: given.Order) -> tuple[Reservation, ...] | Refusal:
        ids = [token_hex(ID_BYTES) for _ in order.nanos]
        amounts = [word for one, nano in zip(ids, order.nanos, strict=True) for word in (one, *limbs(nano))]
        places = rows.with_ceilings(order.scopes, order.ceilings)
        lease = rows.duration_us(order.lease)
        verdict, found = self._ask("reserve", lease, order.note, len(ids), *amounts, *places)
        if verdict == "full":
            raise _too_much(next(found))
        if verdict == "refused":
            return rows.refusal(next(found))
        return rows.reservations(found, ids, order.nanos, order.scopes)

    def _finish(self, reservation_id: str, ending: str, nano: int) -> Settlement:
        key = given.reservation_key(reservation_id)
        verdict, found = self._ask("finish", key, ending, *limbs(nano))
        if verdict == "unknown":
            raise UnknownReservation(key)
        if verdict == "full":
            raise _too_much(next(found))
        return rows.settlement(found, key)

    def _ask(self, name: str, *words: Value) -> tuple[str, Rows]:
        """Run a script: its verdict, and the rows after it. A script that had many leases to end is called again."""
        now = "" if self._clock is None else rows.moment_us(self._clock.now())
        while True:
            answer = self._line.run(ledger_script(name), (ROOT,), (*self._mark, now, *words))
            first, *found = answer.split("\n")
            epoch, sequence, us, verdict = first.split(" ")
            self._remember(Mark(epoch, int(sequence), int(us)))
            if verdict != "again":
                return verdict, iter(found)

    def _remember(self, mark: Mark) -> None:
        """Threads may hear in another order than Redis spoke; the highest of one epoch counts."""
        if mark.epoch != self._mark.epoch or mark.sequence >= self._mark.sequence:
            self._mark = mark


def _too_much(scope: str) -> InvalidInput:
    return InvalidInput(f"'{scope}' would carry more than {MAX_CARRIED // NANO:,} US$", where="usd")


def _chosen(scope: str | None) -> tuple[str, ...]:
    """No word for all scopes."""
    if scope is None:
        return ()
    scope_kind(scope)
    return (scope,)
