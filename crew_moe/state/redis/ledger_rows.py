"""What the ledger's scripts answer, taken apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

from crew_moe.domain.budget import (
    OpenCharge,
    Phase,
    Refusal,
    RefusalReason,
    Reservation,
    ScopeStatus,
    Settlement,
    Standing,
)
from crew_moe.domain.money import NANO, to_usd
from crew_moe.state.accounts import make
from crew_moe.state.ledger import CHARGE
from crew_moe.state.redis.ledger_words import AMOUNT, EPOCH, MANY, NO_LIMIT, PHASES, US, WINDOWS, Mark

VERDICTS: Final = ("ok", "again", "refused", "full", "unknown", "ended", "unlimited", "large")

_NOTHING: Final = Decimal(0)
_ANSWER: Final = Struct("<BI32sQQ16xB")
_ACCOUNT: Final = Struct("<8xQIQIQQIQIBBxQQI27x")
_STANDING: Final = Struct("<8xQIQIQQIQIxBxQ39x")  # the same without what only a status tells
_RECORD: Final = Struct("<BBQIQIQIQQ")
_PLACE_SIZE: Final = 9  # of a bucket in a record: its window and when that opened
_OPEN: Final = Struct("<32sI")  # an id, and the length of the record behind it


class Answer(NamedTuple):
    """What a script said: a verdict, and what it saw of the whole; accounts and the rest as they came."""

    verdict: str
    mark: Mark
    closed: bool
    accounts: bytes
    rest: bytes


class Account(NamedTuple):
    """One account with its present bucket, as a script shows it."""

    reserved: int
    reserved_nano: int
    settled: int
    settled_nano: int
    ends: int
    limit: int
    limit_nano: int
    overrun: int
    overrun_nano: int
    blocked: int
    window: int
    opened: int
    lapsed: int
    lapsed_nano: int


class Record(NamedTuple):
    """A reservation or a charge."""

    phase: Phase
    scopes: tuple[str, ...]
    nano: int
    charged: int
    overrun: int
    expires_us: int
    order: int
    note: bytes


def answer(data: bytes) -> Answer:
    verdict, count, epoch, sequence, us, closed = _ANSWER.unpack_from(data)
    rest = _ANSWER.size + count * _ACCOUNT.size
    seen = make(Mark, (epoch, sequence, us))
    return make(Answer, (VERDICTS[verdict], seen, closed == 1, data[_ANSWER.size : rest], data[rest:]))


def amount(data: bytes) -> int:
    """In nano-USD."""
    whole, rest = AMOUNT.unpack(data)
    return int(whole * NANO + rest)


def reservations(
    found: Answer, ids: Sequence[str], nanos: Sequence[int], scopes: tuple[str, ...], lease: timedelta
) -> tuple[Reservation, ...]:
    """Those that were just made."""
    expires_at = EPOCH + found.mark.us * US + lease
    shared = expires_at, _standings(scopes, found.accounts)
    return tuple([make(Reservation, (one, scopes, nano, *shared)) for one, nano in zip(ids, nanos, strict=True)])


def renewed(found: Answer, identity: str) -> Reservation:
    record = record_of(found.rest)
    standing = _standings(record.scopes, found.accounts)
    return Reservation(identity, record.scopes, record.nano, _moment(record.expires_us), standing)


def refusal(found: Answer) -> Refusal:
    (status,) = statuses(found)
    if found.closed:
        return Refusal(scope=status.scope, limit=None, available=_NOTHING, reason=RefusalReason.CLOSED)
    return Refusal(
        scope=status.scope,
        limit=status.limit_usd,
        available=_NOTHING if status.blocked else status.available_usd or _NOTHING,
        reason=RefusalReason.OVERRUN if status.blocked else RefusalReason.LIMIT,
        retry_at=status.ends_at,
    )


def settlement(found: Answer, key: str) -> Settlement:
    phase, scopes, nano, charged, overrun, _, _, _ = record_of(found.rest)
    paid = to_usd(nano), to_usd(charged), to_usd(overrun) if overrun else _NOTHING
    return make(Settlement, (key.removeprefix(CHARGE), phase, scopes, *paid, _standings(scopes, found.accounts)))


def statuses(found: Answer) -> tuple[ScopeStatus, ...]:
    """Of scopes whose names stand behind their accounts."""
    scopes = found.rest.decode().split("\n") if found.rest else []
    rows = map(Account._make, _ACCOUNT.iter_unpack(found.accounts))
    return tuple([_status(scope, row, found.closed) for scope, row in zip(scopes, rows, strict=True)])


def open_charges(data: bytes) -> tuple[OpenCharge, ...]:
    """Oldest first."""
    found = sorted(_records(data), key=lambda pair: pair[1].order)
    return tuple([_open_charge(identity, record) for identity, record in found])


def record_of(data: bytes) -> Record:
    phase, count, whole, nano, charged, charged_nano, excess, excess_nano, expires, order = _RECORD.unpack_from(data)
    names, _, note = data[_RECORD.size + count * _PLACE_SIZE :].rpartition(b"\n")
    known = PHASES[phase], _scopes(names), whole * NANO + nano
    paid = charged * NANO + charged_nano, excess * NANO + excess_nano
    return make(Record, (*known, *paid, expires, order, note))


def _records(data: bytes) -> Iterator[tuple[str, Record]]:
    at = 0
    while at < len(data):
        identity, length = _OPEN.unpack_from(data, at)
        at += _OPEN.size + length
        yield identity.decode(), record_of(data[at - length : at])


def _open_charge(identity: str, record: Record) -> OpenCharge:
    return OpenCharge(
        id=identity,
        phase=record.phase,
        scopes=record.scopes,
        reserved_usd=to_usd(record.nano),
        expires_at=_moment(record.expires_us),
        note=record.note.decode(),
    )


def _standings(scopes: Sequence[str], data: bytes) -> tuple[Standing, ...]:
    """How full each limited account is."""
    found = []
    for scope, row in zip(scopes, _STANDING.iter_unpack(data), strict=True):
        (
            reserved,
            reserved_nano,
            settled,
            settled_nano,
            ends,
            limit,
            limit_nano,
            overrun,
            overrun_nano,
            window,
            opened,
        ) = row
        if limit != NO_LIMIT:
            used = (reserved + settled + overrun) * NANO + reserved_nano + settled_nano + overrun_nano
            known = (scope, limit * NANO + limit_nano, used, WINDOWS[window], _moment(opened), _end(ends))
            found.append(make(Standing, known))
    return tuple(found)


def _status(scope: str, row: Account, closed: bool) -> ScopeStatus:
    limited = row.limit != NO_LIMIT
    return ScopeStatus(
        scope=scope,
        limit_usd=to_usd(row.limit * NANO + row.limit_nano) if limited else None,
        settled_usd=to_usd(row.settled * NANO + row.settled_nano),
        reserved_usd=to_usd(row.reserved * NANO + row.reserved_nano),
        overrun_usd=to_usd(row.overrun * NANO + row.overrun_nano),
        lapsed_usd=to_usd(row.lapsed * NANO + row.lapsed_nano),
        window=WINDOWS[row.window],
        opened_at=_moment(row.opened),
        ends_at=_end(row.ends),
        blocked=closed or (limited and row.blocked == 1),
    )


@lru_cache(maxsize=MANY)  # windows open and end at the same moments for all
def _moment(us: int) -> datetime:
    return EPOCH + us * US


def _end(us: int) -> datetime | None:
    return None if us == 0 else _moment(us)


@lru_cache(maxsize=MANY)
def _scopes(names: bytes) -> tuple[str, ...]:
    return tuple(names.decode().split("\n"))
