"""What a ledger is asked, checked once for every store: one clear error for the first wrong thing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import ROUND_CEILING, Context, Decimal, InvalidOperation
from functools import lru_cache
from typing import Final, NamedTuple

from crew_moe.domain.budget import MAX_NAME, MAX_SHOWN, Ceiling, ScopeKind, Window, scope_kind
from crew_moe.domain.money import MAX_USD, parse_usd, to_nano
from crew_moe.errors import InvalidInput, UnknownReservation
from crew_moe.state.ledger import CHARGE

MAX_SCOPES: Final = 32
MAX_GROUP: Final = 100
MAX_LEASE_S: Final = 86_400.0
MAX_NOTE: Final = 200
MAX_NANO: Final = to_nano(MAX_USD)
_EXACT: Final = Context(prec=60, rounding=ROUND_CEILING)
_LIST: Final = (tuple, list, Sequence)  # a tuple of types, the likely ones first: every call asks, and ABCs are slow
_TEXT: Final = (str, bytes)
_NUMBER: Final = (float, int)
_RANK: Final = {kind: rank for rank, kind in enumerate(ScopeKind)}
_WINDOWS: Final = {window.value: window for window in Window}


class Order(NamedTuple):
    """Amounts to be put aside side by side. Scopes stand widest first, as refusals name them."""

    scopes: tuple[str, ...]
    nanos: tuple[int, ...]
    lease: timedelta
    ceilings: Mapping[str, Ceiling]
    note: str


def order_of(
    scopes: object,
    usd: object,
    lease_s: object,
    ceilings: object,
    note: object,
) -> Order:
    """What `reserve` or `reserve_group` was asked for. Raises InvalidInput."""
    if not isinstance(usd, _LIST) or isinstance(usd, _TEXT) or not 1 <= len(usd) <= MAX_GROUP:
        raise InvalidInput("a group has no amounts", where="usd", allowed=(f"a list of 1 to {MAX_GROUP} amounts",))
    known = scopes_of(scopes)
    nanos = tuple(map(nano_of, usd))
    limits = _NO_CEILINGS if ceilings is None else ceilings_of(ceilings, known)
    return Order(known, nanos, lease_of(lease_s), limits, note_of(note) if note != "" else "")


def scopes_of(scopes: object) -> tuple[str, ...]:
    """The scopes, widest first. Raises InvalidInput for none, too many, one twice, or a malformed one."""
    if not isinstance(scopes, _LIST) or isinstance(scopes, _TEXT):
        raise InvalidInput("no list of scopes", where="scopes", allowed=("a list such as ('tenant:a', 'run:1')",))
    try:
        return _ordered(tuple(scopes))
    except TypeError:  # something in it can't even be hashed
        return _ordered.__wrapped__(tuple(scopes))


@lru_cache(maxsize=4096)
def _ordered(scopes: tuple[str, ...]) -> tuple[str, ...]:
    ranked = sorted(scopes, key=lambda scope: _RANK[scope_kind(scope, where="scopes")])
    if not 1 <= len(set(ranked)) == len(ranked) <= MAX_SCOPES:
        allowed = (f"1 to {MAX_SCOPES} scopes, each of them once",)
        raise InvalidInput(f"{len(ranked)} scopes, {len(set(ranked))} different", where="scopes", allowed=allowed)
    return tuple(ranked)


def nano_of(usd: object) -> int:
    """An amount in nano-USD, rounded up. Raises InvalidInput."""
    if type(usd) is str or type(usd) is Decimal:  # the short way for nearly every amount
        try:
            amount = Decimal(usd)
            if 0 <= amount <= MAX_USD:
                return int(amount.scaleb(9, _EXACT).to_integral_value(ROUND_CEILING))
        except InvalidOperation:
            pass  # no number: told in full below
    return to_nano(parse_usd(usd, where="usd"))


def lease_of(lease_s: object) -> timedelta:
    """A lease of at least a microsecond. Raises InvalidInput."""
    number = lease_s if isinstance(lease_s, _NUMBER) and not isinstance(lease_s, bool) else math.nan
    if not 0 < number <= MAX_LEASE_S:
        allowed = (f"seconds, more than 0 and at most {MAX_LEASE_S:,.0f}",)
        raise InvalidInput(f"{repr(lease_s)[:MAX_SHOWN]} is no lease", where="lease_s", allowed=allowed)
    return timedelta(0, number) or timedelta.resolution


def window_of(window: object) -> Window:
    """Raises InvalidInput for a word that is no window."""
    found = _WINDOWS.get(window) if isinstance(window, str) else None
    if found is None:
        shown = repr(window)[:MAX_SHOWN]
        raise InvalidInput(f"{shown} is no window", where="window", value=window, allowed=_WINDOWS)
    return found


def ceilings_of(ceilings: object, scopes: tuple[str, ...]) -> Mapping[str, Ceiling]:
    """Raises InvalidInput for a ceiling of a scope that is not asked for, or of an impossible amount."""
    if not isinstance(ceilings, Mapping):
        raise InvalidInput("no ceilings by scope", where="ceilings")
    for scope, ceiling in ceilings.items():
        if scope not in scopes:
            shown = repr(scope)[:MAX_SHOWN]
            raise InvalidInput(f"{shown} is not asked for", where="ceilings", value=scope, allowed=scopes)
        if not isinstance(ceiling, Ceiling) or not _is_nano(ceiling.limit_nano) or type(ceiling.window) is not Window:
            allowed = (f"a Ceiling of 0 to {MAX_NANO:,} nano-USD and a Window",)
            raise InvalidInput(f"no ceiling for '{scope}'", where="ceilings", allowed=allowed)
    return ceilings


def charge_key(charge_id: object) -> str:
    """The key of a charge's record. Raises InvalidInput."""
    if not isinstance(charge_id, str) or not 1 <= len(charge_id) <= MAX_NAME or not charge_id.isprintable():
        allowed = (f"1 to {MAX_NAME} printable characters",)
        raise InvalidInput(f"{repr(charge_id)[:MAX_SHOWN]} is no id", where="charge_id", allowed=allowed)
    return CHARGE + charge_id


def reservation_key(reservation_id: object) -> str:
    """The key of a reservation's record. Raises UnknownReservation for what can't be one."""
    if not isinstance(reservation_id, str) or not reservation_id.isalnum() or not reservation_id.isascii():
        raise UnknownReservation(str(reservation_id))
    return reservation_id


def note_of(note: object) -> str:
    """A note that every store can keep: cut short, and without characters that don't print."""
    if not isinstance(note, str):
        raise InvalidInput(f"a {type(note).__name__} is no note", where="note", allowed=("a text",))
    cut = note[:MAX_NOTE]
    return cut if cut.isprintable() else "".join(char if char.isprintable() else "?" for char in cut)


def _is_nano(amount: object) -> bool:
    return isinstance(amount, int) and not isinstance(amount, bool) and 0 <= amount <= MAX_NANO


_NO_CEILINGS: Final[Mapping[str, Ceiling]] = {}
