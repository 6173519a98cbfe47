"""What the arguments of checks may be: each function gives the value as it is used, or raises InvalidInput."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, time, tzinfo
from math import isfinite
from typing import Final, TypeVar

from crew_moe.domain.meter import MAX_PLACES
from crew_moe.domain.word import Word
from crew_moe.errors import InvalidInput, closest
from crew_moe.gating.names import plain_name

_NAME: Final = re.compile(r"[A-Za-z][\w.-]{0,59}", re.ASCII)
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)
_MINUTES: Final = range(24 * 60)
W = TypeVar("W", bound=Word)


def check_name(name: object) -> str:
    """The name of a check; it stands in the keys of meters and in logs."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise InvalidInput(
            "the name of a check has letters, digits, '_', '.' and '-', and at most 60 of them", where="name"
        )
    return name


def plain_names(names: Iterable[str | int], where: str) -> frozenset[str]:
    """Names of people, roles or places; one at least."""
    found = frozenset(plain_name(name, where=where) for name in names)
    if not found:
        raise InvalidInput("names nobody and nothing", where=where)
    return found


def positive(value: object, where: str) -> float:
    """A number above zero."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value <= 0:
        raise InvalidInput("must be a number above 0", where=where)
    return float(value)


def count(value: object, where: str) -> int:
    """A number of places."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_PLACES:
        raise InvalidInput(f"must be a whole number from 1 to {MAX_PLACES:,}", where=where)
    return value


def share(value: object, where: str) -> float:
    """A number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidInput("must be a number from 0 to 1", where=where)
    return float(value)


def word(value: str, words: type[W], where: str) -> W:
    """One of the words."""
    if value not in set(words):
        raise InvalidInput(f"unknown {where} '{str(value)[:60]}'", where=where, value=value, allowed=list(words))
    return words(value)


def time_of_day(value: str | int, where: str) -> time:
    """`HH:MM`, or minutes since midnight: YAML reads an unquoted 22:00 as 1320."""
    if isinstance(value, int) and not isinstance(value, bool) and value in _MINUTES:
        return time(*divmod(value, 60))
    found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise InvalidInput("must be a time of day such as '22:00'", where=where)
    return time(int(found[1]), int(found[2]))


def time_zone(name: str) -> tzinfo:
    """A time zone by its IANA name."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

    if name == "UTC":
        return UTC  # needs no database of time zones
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = closest(name, available_timezones())
    hint = f"; did you mean '{near}'?" if near else ""
    raise InvalidInput(f"unknown time zone '{name[:60]}'{hint}", where="tz", allowed=("names such as Europe/Berlin",))
