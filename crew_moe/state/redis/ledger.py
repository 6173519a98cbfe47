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

import os
from collections.abc import Mapping, Sequence
from typing import Final

from crew_moe.domain.budget import (
    Ceiling,
    OpenCharge,
    Phase,
    Refusal,
    Reservation,
    ScopeStatus,
    Settlement,
    Window,
    scope_kind,
)
from crew_moe.domain.money import NANO, parse_usd, to_usd
from crew_moe.errors import InvalidInput, UnknownReservation
from crew_moe.ports import Amount, Clock
from crew_moe.state import ledger_input as given
from crew_moe.state.accounts import MAX_CARRIED
from crew_moe.state.redis import ledger_rows as rows
from crew_moe.state.redis import ledger_words as words
from crew_moe.state.redis.connection import PREFIX
from crew_moe.state.redis.durability import require_durable
from crew_moe.state.redis.ledger_rows import Answer
from crew_moe.state.redis.ledger_scripts import ledger_script
from crew_moe.state.redis.ledger_words import Mark
from crew_moe.state.redis.line import Line

ROOT: Final = (PREFIX + "{budget}:").encode()
HEAD: Final = words.account_keys(ROOT, ())
ID_BYTES: Final = 16


class RedisLedger:
    """Implements ports.Ledger for all who open the same database; safe for threads and forks.

    Opening raises StateError for a server that may lose what it acknowledged (see durability). A server that can't be
    reached raises StateError within two seconds, and is used again when it is back; a reservation whose answer was
    lost on the way may have been made, and lapses into a charge. Endings are known for a day, lapsed charges for 31.
    """

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        self._clock = clock
        self._line = Line(url, require_durable)
        self._mark = Mark(_new_id().encode(), 0, 0)
        self._ask("open", HEAD)

    def set_limit(self, scope: str, *, usd: Amount | None, window: Window | str | None = None) -> ScopeStatus:
        nano = None if usd is None else given.nano_of(usd)
        return self._limit(scope, nano, words.window(None if window is None else given.window_of(window)))

    def top_up(self, scope: str, *, usd: Amount, adopt: bool = False) -> ScopeStatus:
        return self._limit(scope, given.nano_of(usd), b"adopt" if adopt else b"raise")

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
        return self._finish(reservation_id, Phase.SETTLED, given.nano_of(usd))

    def release(self, reservation_id: str) -> Settlement:
        return self._finish(reservation_id, Phase.RELEASED, 0)

    def renew(self, reservation_id: str, *, lease_s: float = 60.0) -> Reservation:
        key, lease = given.reservation_key(reservation_id), given.lease_of(lease_s)
        found = self._ask("renew", _record_keys(key), key.encode(), words.lease(lease))
        if found.verdict == "unknown":
            raise UnknownReservation(key)
        if found.verdict == "ended":
            why = f"reservation '{key}' can't be renewed: it is {rows.record_of(found.rest).phase}"
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
        asked = words.amounts(order.nanos[0]), words.ceilings(order.scopes, order.ceilings)
        keys, names = words.account_keys(ROOT, order.scopes), words.names(order.scopes, order.note)
        found = self._ask("charge", keys, *asked, names, key.encode())
        if found.verdict == "full":
            raise _too_much(found)
        return rows.settlement(found, key)

    def status(self, scope: str) -> ScopeStatus:
        scope_kind(scope)
        return rows.statuses(self._ask("status", words.account_keys(ROOT, (scope,))))[0]

    def statuses(self) -> Sequence[ScopeStatus]:
        return tuple(sorted(rows.statuses(self._ask("status", HEAD)), key=lambda status: status.scope))

    def open_charges(self, scope: str | None = None) -> Sequence[OpenCharge]:
        return rows.open_charges(self._ask("open_charges", _chosen(scope)).rest)

    def reconcile(self, scope: str | None = None) -> Sequence[ScopeStatus]:
        """Lift the block of one scope, or of all, and without a scope open a ledger that lost data; the scopes that
        may be reserved in again.
        """
        found = rows.statuses(self._ask("reconcile", _chosen(scope), _new_id().encode()))
        return tuple(sorted(found, key=lambda status: status.scope))

    def close(self) -> None:
        self._line.close()

    def _limit(self, scope: str, nano: int | None, how: bytes) -> ScopeStatus:
        scope_kind(scope)
        found = self._ask("limit", words.account_keys(ROOT, (scope,)), words.limit(nano), how)
        if found.verdict == "unlimited":
            raise InvalidInput(f"'{scope}' has no limit of its own that could be raised", where="scope")
        if found.verdict == "large":
            parse_usd(to_usd(rows.amount(found.rest)), where="usd")
        return rows.statuses(found)[0]

    def _reserve(self, order: given.Order) -> tuple[Reservation, ...] | Refusal:
        scopes, nanos, lease, ceilings, note = order
        ids = [_new_id() for _ in nanos]
        found = self._ask(
            "reserve",
            words.account_keys(ROOT, scopes),
            words.lease(lease) + words.amounts(*nanos),
            words.ceilings(scopes, ceilings),
            words.names(scopes, note),
            *[one.encode() for one in ids],
        )
        if found.verdict == "ok":
            return rows.reservations(found, ids, nanos, scopes, lease)
        if found.verdict == "full":
            raise _too_much(found)
        return rows.refusal(found)

    def _finish(self, reservation_id: str, phase: Phase, nano: int) -> Settlement:
        key = given.reservation_key(reservation_id)
        found = self._ask("finish", _record_keys(key), key.encode(), words.ending(phase, nano))
        if found.verdict == "unknown":
            raise UnknownReservation(key)
        if found.verdict == "full":
            raise _too_much(found)
        return rows.settlement(found, key)

    def _ask(self, name: str, keys: tuple[bytes, ...], *told: bytes) -> Answer:
        """Run a script; one that had many leases to end is called again."""
        clock_us = 0 if self._clock is None else words.microseconds(self._clock.now())
        while True:
            data = self._line.call(ledger_script(name), keys, (words.mark(self._mark, clock_us), *told))
            found = rows.answer(data)
            self._remember(found.mark)
            if found.verdict != "again":
                return found

    def _remember(self, mark: Mark) -> None:
        """Threads may hear in another order than Redis spoke; the highest of one epoch counts."""
        if mark.epoch != self._mark.epoch or mark.sequence >= self._mark.sequence:
            self._mark = mark


def _new_id() -> str:
    return os.urandom(ID_BYTES).hex()


def _record_keys(key: str) -> tuple[bytes, ...]:
    """The keys of the head and of one record."""
    return (*HEAD, ROOT + b"record:" + key.encode())


def _chosen(scope: str | None) -> tuple[bytes, ...]:
    """The keys of the head and of one account, or no account for all."""
    if scope is None:
        return HEAD
    scope_kind(scope)
    return words.account_keys(ROOT, (scope,))


def _too_much(found: Answer) -> InvalidInput:
    return InvalidInput(f"'{found.rest.decode()}' would carry more than {MAX_CARRIED // NANO:,} US$", where="usd")
