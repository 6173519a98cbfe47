"""What the ledger's scripts are told, packed as Redis keeps it.

An amount is whole US$ and the nano-US$ beyond, a time is microseconds since 1970, and windows and phases are numbers,
as in `ledger.lua`, which knows them by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

from crew_moe.domain.budget import Ceiling, Phase, Window
from crew_moe.domain.money import MAX_USD, NANO

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
US: Final = timedelta(microseconds=1)
WINDOWS: Final = (Window.RUN, Window.HOUR, Window.DAY, Window.MONTH, Window.TOTAL)
PHASES: Final = (Phase.HELD, Phase.SETTLED, Phase.RELEASED, Phase.LAPSED)
NO_LIMIT: Final = 10**12  # whole US$
MANY: Final = 4096  # scopes that are asked for again and again
AMOUNT: Final = Struct("<QI")

_WINDOW_CODES: Final = {window: code for code, window in enumerate(WINDOWS)}
_PHASE_CODES: Final = {phase: code for code, phase in enumerate(PHASES)}
_LARGEST: Final = int(MAX_USD)
_MARK: Final = Struct("<32sQQQ")
_LEASE: Final = Struct("<Q")
_CEILING: Final = Struct("<QIB")
_LIMIT: Final = Struct("<QIQ")
_ENDING: Final = Struct("<BQI")
_NO_CEILING: Final = _CEILING.pack(NO_LIMIT, 0, 255)


class Mark(NamedTuple):
    """What a client saw last: the ledger's epoch, its sequence and its time in microseconds."""

    epoch: bytes
    sequence: int
    us: int


def microseconds(moment: datetime) -> int:
    """Since 1970."""
    return (moment - EPOCH) // US


def mark(seen: Mark, clock_us: int) -> bytes:
    """A clock of 0 is that of Redis."""
    return _MARK.pack(*seen, clock_us)


def lease(duration: timedelta) -> bytes:
    return _LEASE.pack(duration // US)


def amounts(*nanos: int) -> bytes:
    return b"".join([AMOUNT.pack(*divmod(nano, NANO)) for nano in nanos])


def limit(nano: int | None) -> bytes:
    """A limit, or none, and the largest that there may be."""
    whole, rest = (NO_LIMIT, 0) if nano is None else divmod(nano, NANO)
    return _LIMIT.pack(whole, rest, _LARGEST)


def window(chosen: Window | None) -> bytes:
    return b"" if chosen is None else b"%d" % _WINDOW_CODES[chosen]


def ending(phase: Phase, nano: int) -> bytes:
    return _ENDING.pack(_PHASE_CODES[phase], *divmod(nano, NANO))


def ceilings(scopes: Sequence[str], given: Mapping[str, Ceiling]) -> bytes:
    """One for each scope; nothing where there is none at all."""
    return b"".join([_ceiling(given.get(scope)) for scope in scopes]) if given else b""


def _ceiling(ceiling: Ceiling | None) -> bytes:
    if ceiling is None:
        return _NO_CEILING
    return _CEILING.pack(*divmod(ceiling.limit_nano, NANO), _WINDOW_CODES[ceiling.window])


@lru_cache(maxsize=MANY)
def account_keys(root: bytes, scopes: tuple[str, ...]) -> tuple[bytes, ...]:
    """The keys of the head and of accounts."""
    return (root + b"head", *(root + b"account:" + scope.encode() for scope in scopes))


def names(scopes: tuple[str, ...], note: str) -> bytes:
    """As records keep them; none holds a line's end."""
    return _names(scopes) + note.encode()


@lru_cache(maxsize=MANY)
def _names(scopes: tuple[str, ...]) -> bytes:
    return b"".join([scope.encode() + b"\n" for scope in scopes])
