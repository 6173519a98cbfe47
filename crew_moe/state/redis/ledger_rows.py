"""What the ledger's scripts are told and what they answer, as words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final

from crew_moe.domain.budget import (
    Ceiling,
    OpenCharge,
    Phase,
    Refusal,
    RefusalReason,
    Reservation,
    ScopeStatus,
    Settlement,
    Standing,
    Window,
)
from crew_moe.domain.money import NANO, to_usd
from crew_moe.state.ledger import CHARGE

Rows = Iterator[str]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US: Final = timedelta(microseconds=1)
_WINDOWS: Final = {window.value: window for window in Window}
_PHASES: Final = {phase.value: phase for phase in Phase}
_NONE: Final = "-"  # no limit


def moment_us(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - _EPOCH) // _US


def duration_us(duration: timedelta) -> int:
    """Microseconds."""
    return duration // _US


def limbs(nano: int) -> tuple[str, str]:
    """An amount as scripts count: whole US$ and the nano-US$ beyond."""
    whole, rest = divmod(nano, NANO)
    return str(whole), str(rest)


def with_ceilings(scopes: Iterable[str], ceilings: Mapping[str, Ceiling]) -> list[str]:
    """Each scope and its ceiling, '' where it has none."""
    words: list[str] = []
    for scope in scopes:
        ceiling = ceilings.get(scope)
        words += (scope, "" if ceiling is None else " ".join((*limbs(ceiling.limit_nano), ceiling.window)))
    return words


def reservations(
    rows: Rows, ids: Sequence[str], nanos: Sequence[int], scopes: tuple[str, ...]
) -> tuple[Reservation, ...]:
    """Those that were just made."""
    expires_at = _moment(next(rows))
    standing = _standings(rows)
    return tuple(
        [
            Reservation(id=one, scopes=scopes, nano=nano, expires_at=expires_at, standings=standing)
            for one, nano in zip(ids, nanos, strict=True)
        ]
    )


def renewed(rows: Rows, identity: str) -> Reservation:
    expires, nano, count = next(rows).split(" ")
    return Reservation(
        id=identity,
        scopes=_scopes(rows, count),
        nano=int(nano),
        expires_at=_moment(expires),
        standings=_standings(rows),
    )


def refusal(row: str) -> Refusal:
    reason, limit, room, ends, scope = row.split(" ", 4)
    return Refusal(
        scope=scope,
        limit=_limit(limit),
        available=to_usd(int(room)),
        reason=RefusalReason(reason),
        retry_at=_end(ends),
    )


def settlement(rows: Rows, key: str) -> Settlement:
    phase, reserved, charged, overrun, count = next(rows).split(" ")
    return Settlement(
        id=key.removeprefix(CHARGE),
        phase=_PHASES[phase],
        scopes=_scopes(rows, count),
        reserved_usd=to_usd(int(reserved)),
        charged_usd=to_usd(int(charged)),
        overrun_usd=to_usd(int(overrun)),
        standings=_standings(rows),
    )


def statuses(rows: Rows) -> tuple[ScopeStatus, ...]:
    return tuple([_status(row) for row in rows])


def open_charges(rows: Rows) -> Iterator[OpenCharge]:
    for row in rows:
        identity, phase, nano, expires, count = row.split(" ")
        yield OpenCharge(
            id=identity,
            phase=_PHASES[phase],
            scopes=_scopes(rows, count),
            reserved_usd=to_usd(int(nano)),
            expires_at=_moment(expires),
            note=next(rows),
        )


def _status(row: str) -> ScopeStatus:
    limit, settled, reserved, overrun, lapsed, window, opened, ends, blocked, scope = row.split(" ", 9)
    return ScopeStatus(
        scope=scope,
        limit_usd=_limit(limit),
        settled_usd=to_usd(int(settled)),
        reserved_usd=to_usd(int(reserved)),
        overrun_usd=to_usd(int(overrun)),
        lapsed_usd=to_usd(int(lapsed)),
        window=_WINDOWS[window],
        opened_at=_moment(opened),
        ends_at=_end(ends),
        blocked=blocked == "1",
    )


def _standings(rows: Rows) -> tuple[Standing, ...]:
    """All rows that are left."""
    return tuple([_standing(row) for row in rows])


def _standing(row: str) -> Standing:
    limit, used, window, opened, ends, scope = row.split(" ", 5)
    return Standing(
        scope=scope,
        limit_nano=int(limit),
        used_nano=int(used),
        window=_WINDOWS[window],
        opened_at=_moment(opened),
        ends_at=_end(ends),
    )


def _scopes(rows: Rows, count: str) -> tuple[str, ...]:
    return tuple([next(rows) for _ in range(int(count))])


def _limit(word: str) -> Decimal | None:
    return None if word == _NONE else to_usd(int(word))


@lru_cache(maxsize=1024)  # windows open and end at the same moments for all
def _moment(us: str) -> datetime:
    return _EPOCH + timedelta(microseconds=int(us))


def _end(us: str) -> datetime | None:
    return None if us == "0" else _moment(us)
