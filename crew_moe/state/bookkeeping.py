"""A ledger over books: one order of steps for every store that can open its books to one at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

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
from crew_moe.domain.money import parse_usd, to_usd
from crew_moe.errors import InvalidInput, UnknownReservation
from crew_moe.ports import Amount
from crew_moe.state import ledger
from crew_moe.state import ledger_input as given
from crew_moe.state.accounts import Account, Bucket, Terms, new_account, refusal, standings, status
from crew_moe.state.ledger import Record


class Books(Protocol):
    """Accounts and records, open to nobody else; every lease that ended by `now` has lapsed in them."""

    @property
    def now(self) -> datetime:
        """Aware UTC; never before what any opener of these books has seen."""

    def new_key(self) -> str:
        """An id that nobody else gives out, and nobody guesses."""

    def accounts(self, scopes: Sequence[str], ceilings: Mapping[str, Ceiling]) -> list[Account]:
        """The accounts to charge, opened where they are new, each with its present bucket and its ceiling taken."""

    def known(self, scopes: Sequence[str]) -> list[Account]:
        """Those of the scopes that have an account, as they stand; nothing is opened."""

    def every(self) -> list[Account]:
        """All accounts, by name."""

    def agree(self, account: Account, terms: Terms) -> None:
        """Give new terms to an account of these books, and the bucket that goes with them."""

    def find(self, key: str) -> Record | None: ...

    def unfinished(self) -> list[Record]:
        """Records that are held or lapsed, oldest first."""

    def add(self, records: Sequence[Record]) -> None:
        """Keep new records of one set of buckets, and what they moved there."""

    def save(self, record: Record) -> None:
        """Keep what changed in a record of these books, and in its buckets."""

    def save_buckets(self, buckets: Sequence[Bucket]) -> None: ...


class BookLedger(ABC):
    """Implements ports.Ledger but for where its books lie."""

    @abstractmethod
    def _books(self) -> AbstractContextManager[Books]:
        """The books, to write in: all of it is kept, or, when an error leaves the block, none."""

    @abstractmethod
    def _view(self) -> AbstractContextManager[Books]:
        """The books, to look at."""

    def set_limit(self, scope: str, *, usd: Amount | None, window: Window | str | None = None) -> ScopeStatus:
        scope_kind(scope)
        nano = None if usd is None else given.nano_of(usd)
        wanted = None if window is None else given.window_of(window)
        with self._books() as books:
            (account,) = books.accounts((scope,), {})
            terms = account.terms
            books.agree(account, terms._replace(own_nano=nano, own_window=wanted or terms.own_window))
            return status(account)

    def top_up(self, scope: str, *, usd: Amount, adopt: bool = False) -> ScopeStatus:
        scope_kind(scope)
        more = given.nano_of(usd)
        with self._books() as books:
            account = next(iter(books.known((scope,))), None)
            terms = Terms() if account is None else account.terms
            before = terms.limit_nano if adopt else terms.own_nano
            if account is None or before is None:
                raise InvalidInput(f"'{scope}' has no limit of its own that could be raised", where="scope")
            parse_usd(to_usd(before + more), where="usd")
            books.agree(account, terms._replace(own_nano=before + more, own_window=terms.window))
            return status(account)

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
        return self._end(given.reservation_key(reservation_id), given.nano_of(usd), Phase.SETTLED)

    def release(self, reservation_id: str) -> Settlement:
        return self._end(given.reservation_key(reservation_id), 0, Phase.RELEASED)

    def renew(self, reservation_id: str, *, lease_s: float = 60.0) -> Reservation:
        key, lease = given.reservation_key(reservation_id), given.lease_of(lease_s)
        with self._books() as books:
            record = _found(books, key)
            record.renew(books.now + lease)
            books.save(record)
            return ledger.reservation(record, standings(books.known(record.scopes)))

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
        with self._books() as books:
            record = books.find(key)
            if record is None:
                found = books.accounts(order.scopes, order.ceilings)
                record = ledger.book(key, found, order.nanos[0], books.now, order.note)
                books.add((record,))
            return ledger.settlement(record, books.known(record.scopes))

    def status(self, scope: str) -> ScopeStatus:
        scope_kind(scope)
        with self._view() as books:
            return status(next(iter(books.known((scope,))), None) or new_account(scope, books.now))

    def statuses(self) -> Sequence[ScopeStatus]:
        with self._view() as books:
            return tuple(status(account) for account in books.every())

    def open_charges(self, scope: str | None = None) -> Sequence[OpenCharge]:
        if scope is not None:
            scope_kind(scope)
        with self._view() as books:
            found = books.unfinished()
        return tuple(ledger.open_charge(record) for record in found if scope is None or scope in record.scopes)

    def reconcile(self, scope: str | None = None) -> Sequence[ScopeStatus]:
        """Lift the block of one scope, or of all; the scopes that it was lifted from."""
        if scope is not None:
            scope_kind(scope)
        with self._books() as books:
            found = books.every() if scope is None else books.known((scope,))
            blocked = [account for account in found if status(account).blocked]
            for account in blocked:
                account.bucket.blocked = False
            books.save_buckets([account.bucket for account in blocked])
            return tuple(status(account) for account in blocked)

    def _reserve(self, order: given.Order) -> tuple[Reservation, ...] | Refusal:
        with self._books() as books:
            found = books.accounts(order.scopes, order.ceilings)
            nano = sum(order.nanos)
            refused = refusal(found, nano)
            if refused is not None:
                return refused
            buckets = [account.bucket for account in found]
            for bucket in buckets:
                bucket.reserved += nano
            until = books.now + order.lease
            records = [Record(books.new_key(), order.scopes, buckets, one, until, order.note) for one in order.nanos]
            books.add(records)
            standing = standings(found)
        return tuple([ledger.reservation(record, standing) for record in records])

    def _end(self, key: str, spent: int, phase: Phase) -> Settlement:
        with self._books() as books:
            record = _found(books, key)
            if record.end(spent, phase):
                books.save(record)
            return ledger.settlement(record, books.known(record.scopes))


def _found(books: Books, key: str) -> Record:
    record = books.find(key)
    if record is None:
        raise UnknownReservation(key)
    return record
