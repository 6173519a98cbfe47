"""What the headers of an answer tell of its provider's rate limits, and how long to wait.

OpenAI and those who follow it (Groq, Azure, Together) send `x-ratelimit-limit-requests: 500`, `-remaining-...: 499`
and `-reset-...: 120ms`, without the period that the limit is for; their `tokens` are sent and asked-for ones together.
Mistral and Cerebras name the period. Anthropic's limits are per minute, tell input from output, and reset at a moment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

from crew_moe.domain.meter import MAX_PER_S, Told
from crew_moe.errors import InvalidInput
from crew_moe.execution.turnstile import INPUT_TOKENS, MINUTE_S, OUTPUT_TOKENS, REQUESTS

_DAY_S: Final = 86_400.0
_COMMON: Final = "ratelimit"


class _Family(NamedTuple):
    """Three headers, `{}` being limit, remaining or reset; `per_s` is the period that their name tells."""

    rate: str
    pattern: str
    per_s: float | None = None


_FAMILIES: Final = (
    _Family(REQUESTS, "anthropic-ratelimit-requests-{}", MINUTE_S),
    _Family(INPUT_TOKENS, "anthropic-ratelimit-input-tokens-{}", MINUTE_S),
    _Family(OUTPUT_TOKENS, "anthropic-ratelimit-output-tokens-{}", MINUTE_S),
    _Family(REQUESTS, "x-ratelimit-{}-requests"),
    _Family(INPUT_TOKENS, "x-ratelimit-{}-tokens"),
    _Family(REQUESTS, "x-ratelimit-{}-req-minute", MINUTE_S),
    _Family(INPUT_TOKENS, "x-ratelimit-{}-tokens-minute", MINUTE_S),
    _Family(REQUESTS, "x-ratelimit-{}-requests-minute", MINUTE_S),
    _Family(REQUESTS, "x-ratelimit-{}-requests-day", _DAY_S),
    _Family(INPUT_TOKENS, "x-ratelimit-{}-tokens-day", _DAY_S),
    _Family(REQUESTS, "x-ratelimit-{}"),
)
_ABOUT_A_MINUTE: Final = (MINUTE_S / 2, MINUTE_S * 2)
_SPAN: Final = re.compile(
    r"(?:(?P<days>\d{1,3})d)?(?:(?P<hours>\d{1,4})h)?(?:(?P<minutes>\d{1,5})m)?"
    r"(?:(?P<seconds>\d{1,7}(?:\.\d{1,9})?)s)?(?:(?P<milliseconds>\d{1,9}(?:\.\d{1,9})?)ms)?"
)
_NUMBER: Final = re.compile(r"\d{1,15}(\.\d{1,9})?")
_SECONDS_SINCE_1970: Final = 1e9
_MILLISECONDS_SINCE_1970: Final = 1e12


def limits_told(headers: Mapping[str, str], now: datetime) -> tuple[Told, ...]:
    """One Told for each rate that the headers speak of; nonsense (-1, a word, a limit of 0) is left out.

    Moments are read against the answer's own `Date`, where it has one: clocks differ between machines.
    """
    found = {name.lower(): value.strip() for name, value in headers.items() if _COMMON in name.lower()}
    if not found:
        return ()
    since = _date(headers.get("date", "")) or now
    return tuple(told for family in _FAMILIES for told in _of_family(family, found, now, since))


def retry_after_ms(headers: Mapping[str, str], now: datetime) -> float | None:
    """How long the provider asks us to wait, in ms: `retry-after-ms`, or `Retry-After` in seconds or as a date.

    A date is read against the answer's own `Date`, where it has one: clocks differ between machines.
    """
    for name, factor in (("retry-after-ms", 1.0), ("retry-after", 1000.0)):
        value = headers.get(name, "").strip()
        if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value):
            return float(value) * factor
    at = _date(headers.get("retry-after", ""))
    if at is None:
        return None
    since = _date(headers.get("date", "")) or now
    return max(0.0, (at - since).total_seconds() * 1000.0)


def _of_family(family: _Family, found: Mapping[str, str], now: datetime, since: datetime) -> Iterator[Told]:
    limit, remaining, reset = (found.get(family.pattern.format(what), "") for what in ("limit", "remaining", "reset"))
    capacity, left = _number(limit), _number(remaining)
    wait_s = _wait_s(reset, since)
    by_minute = _is_by_minute(family, capacity, left, wait_s)
    # A limit of another period is not ours to adopt; one that refills evenly has room again long before it is full.
    capacity = capacity if by_minute else None
    resets_at = None if wait_s is None or (by_minute and left == 0) else now + timedelta(seconds=wait_s)
    if left is None and capacity is None:
        return
    try:
        yield Told(rate=family.rate, remaining=left, capacity=capacity, resets_at=resets_at)
    except InvalidInput:
        return


def _is_by_minute(family: _Family, capacity: float | None, left: float | None, wait_s: float | None) -> bool:
    """Whether the limit is one per minute: as its name says, or as long as it takes to refill says.

    What is used refills within `wait_s`; at that pace the whole refills within the period.
    """
    if family.per_s is not None:
        return family.per_s == MINUTE_S
    if not capacity or left is None or not wait_s or left >= capacity:
        return False
    least, most = _ABOUT_A_MINUTE
    return least <= wait_s * capacity / (capacity - left) <= most


def _number(value: str) -> float | None:
    return float(value) if _NUMBER.fullmatch(value) else None


def _wait_s(value: str, since: datetime) -> float | None:
    """Seconds until a reset, a year at most; None where nobody tells."""
    wait_s = _told_s(value, since)
    return wait_s if wait_s is not None and wait_s <= MAX_PER_S else None


def _told_s(value: str, since: datetime) -> float | None:
    """Seconds told as such ("6m0s", "120ms", "7.66"), as a moment in RFC 3339, or as a Unix time."""
    number = _number(value)
    if number is not None:
        return _until(number, since)
    span = _SPAN.fullmatch(value)
    if span is not None and value:
        return timedelta(**{unit: float(told) for unit, told in span.groupdict().items() if told}).total_seconds()
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return None if at.tzinfo is None else max(0.0, (at - since).total_seconds())


def _until(number: float, since: datetime) -> float:
    """A bare number: seconds to wait, or, where it is far too large for that, seconds or milliseconds since 1970."""
    if number >= _MILLISECONDS_SINCE_1970:
        number /= 1000.0
    return max(0.0, number - since.timestamp()) if number >= _SECONDS_SINCE_1970 else number


def _date(value: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
