"""Accounts of a ledger: what limits a scope, what it carries in its present window, and whether more fits.

An account is a scope with its terms: a limit of its own, which beats the ceiling that a call brought along. A bucket is
the money of one scope in one window; `run` and `total` share theirs, since neither starts anew.

Accounts and buckets change in place, so they belong to one lock or one transaction. Amounts are nano-USD.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from crew_moe.domain.budget import Ceiling, Refusal, RefusalReason, ScopeKind, ScopeStatus, Standing, Window, scope_kind
from crew_moe.domain.money import NANO, to_usd
from crew_moe.errors import InvalidInput

MAX_CARRIED: Final = 9_000_000_000 * NANO  # of one bucket; below 2**63, so that every store counts exactly
KEPT: Final = timedelta(days=7)  # a run or task is known so long after its last call
CORRIGIBLE: Final = timedelta(days=31)  # a lapsed charge may be put right so long
make: Final = tuple.__new__  # of a NamedTuple, in a third of the time that its own constructor takes
DAY: Final = timedelta(days=1)
FLEETING: Final = frozenset({ScopeKind.RUN, ScopeKind.TASK})


class Terms(NamedTuple):
    """What limits one scope: its own limit, or else the last ceiling that a call brought along."""

    own_nano: int | None = None
    own_window: Window | None = None  # stays when the limit is taken away
    ceiling: Ceiling | None = None

    @property
    def limit_nano(self) -> int | None:
        if self.own_nano is None and self.ceiling is not None:
            return self.ceiling.limit_nano
        return self.own_nano

    @property
    def window(self) -> Window:
        if self.own_nano is None and self.ceiling is not None:
            return self.ceiling.window
        return self.own_window or Window.TOTAL

    @property
    def period(self) -> Window:
        """The window whose bucket counts."""
        window = self.window
        return Window.TOTAL if window is Window.RUN else window


Shift = tuple[int, int, int, int]
"""What moves in a bucket: settled, reserved, overrun, lapsed. A plain tuple, made with every call."""


@dataclass(slots=True)
class Bucket:
    """The money of one scope in one window. `number` is its place in a store that has numbers."""

    scope: str
    period: Window
    opened_at: datetime
    ends_at: datetime | None
    settled: int = 0
    reserved: int = 0
    overrun: int = 0
    lapsed: int = 0
    blocked: bool = False
    number: int = 0

    @property
    def carried(self) -> int:
        """All that counts against a limit."""
        return self.settled + self.reserved + self.overrun

    def has_ended(self, now: datetime) -> bool:
        return self.ends_at is not None and now >= self.ends_at

    def check(self, more: int) -> None:
        """Raises InvalidInput where it would carry more than can be counted."""
        if self.carried + more > MAX_CARRIED:
            raise InvalidInput(f"'{self.scope}' would carry more than {MAX_CARRIED // NANO:,} US$", where="usd")


class Account:
    """One scope: its terms, and the bucket that is open for it now."""

    __slots__ = ("bucket", "keep_until", "limit_nano", "scope", "terms", "window")

    def __init__(self, scope: str, terms: Terms, bucket: Bucket, keep_until: datetime) -> None:
        self.scope = scope
        self.bucket = bucket
        self.keep_until = keep_until
        self.agree(terms)

    def agree(self, terms: Terms) -> None:
        """Take new terms; the caller sees to the bucket of their window."""
        self.terms = terms
        self.limit_nano = terms.limit_nano  # both kept beside them, since every call asks
        self.window = terms.window

    def booking(self, nano: int) -> Shift:
        """What a charge moves that nobody reserved: what has no room is overrun. Raises as `Bucket.check`."""
        self.bucket.check(nano)
        room = nano if self.limit_nano is None else max(0, self.limit_nano - self.bucket.carried)
        fits = min(nano, room)
        return fits, 0, nano - fits, 0

    def keep(self, until: datetime) -> bool:
        """Be known at least until then; True when that moved. It moves by days, so that few calls have to store it."""
        if until <= self.keep_until:
            return False
        self.keep_until = until + DAY
        return True

    def is_forgotten(self, now: datetime) -> bool:
        """Whether it need not be known any longer: a run or task without a limit of its own and with nothing held."""
        return now >= self.keep_until and self.bucket.reserved == 0 and self.terms.own_nano is None


def move(buckets: Iterable[Bucket], shift: Shift) -> None:
    """Apply one shift to all of them; an overrun blocks."""
    settled, reserved, overrun, lapsed = shift
    for bucket in buckets:
        bucket.settled += settled
        bucket.reserved += reserved
        if overrun or lapsed:
            bucket.overrun += overrun
            bucket.lapsed += lapsed
            bucket.blocked = bucket.blocked or overrun > 0


def is_fleeting(scope: str) -> bool:
    """Whether scopes of this kind come and go in any number."""
    return scope_kind(scope) in FLEETING


def open_bucket(scope: str, period: Window, now: datetime) -> Bucket:
    """The empty bucket of the window that `now` lies in; one that never ends opens now."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    if period is Window.HOUR:
        return Bucket(scope, period, hour, hour + timedelta(hours=1))
    if period is Window.DAY:
        return Bucket(scope, period, day, day + timedelta(days=1))
    if period is Window.MONTH:
        first = day.replace(day=1)
        return Bucket(scope, period, first, (first + timedelta(days=31)).replace(day=1))
    return Bucket(scope, period, now, None)


def new_account(scope: str, now: datetime) -> Account:
    """An account as nobody knows it yet: not limited, and empty."""
    return Account(scope, Terms(), open_bucket(scope, Window.TOTAL, now), now + KEPT)


def refusal(accounts: Iterable[Account], nano: int) -> Refusal | None:
    """Why the amount may not be reserved: the first account that is blocked or has no room; None: it may.

    Nothing is refused an amount of 0. Raises as `Bucket.check`.
    """
    if nano == 0:
        return None
    for account in accounts:
        bucket, limit = account.bucket, account.limit_nano
        room = (MAX_CARRIED if limit is None else limit) - bucket.settled - bucket.reserved - bucket.overrun
        if limit is None:
            if nano > room:
                bucket.check(nano)
        elif bucket.blocked or nano > room:
            return Refusal(
                scope=account.scope,
                limit=to_usd(limit),
                available=Decimal(0) if bucket.blocked else to_usd(max(0, room)),
                reason=RefusalReason.OVERRUN if bucket.blocked else RefusalReason.LIMIT,
                retry_at=bucket.ends_at,
            )
    return None


def standings(accounts: Iterable[Account]) -> tuple[Standing, ...]:
    """How full each limited account is."""
    found = []
    for account in accounts:
        limit, bucket = account.limit_nano, account.bucket
        if limit is not None:
            used = bucket.settled + bucket.reserved + bucket.overrun
            known = (account.scope, limit, used, account.window, bucket.opened_at, bucket.ends_at)
            found.append(make(Standing, known))
    return tuple(found)


def status(account: Account) -> ScopeStatus:
    """How one account stands."""
    bucket = account.bucket
    return ScopeStatus(
        scope=account.scope,
        limit_usd=None if account.limit_nano is None else to_usd(account.limit_nano),
        settled_usd=to_usd(bucket.settled),
        reserved_usd=to_usd(bucket.reserved),
        overrun_usd=to_usd(bucket.overrun),
        lapsed_usd=to_usd(bucket.lapsed),
        window=account.window,
        opened_at=bucket.opened_at,
        ends_at=bucket.ends_at,
        blocked=bucket.blocked and account.limit_nano is not None,
    )
