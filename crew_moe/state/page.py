"""What every PageStore shares: when a page's time is over, and names as bytes that sort as the names do."""

from __future__ import annotations

from datetime import datetime
from math import ceil
from typing import Final

from crew_moe.errors import InvalidInput
from crew_moe.state.meter import SECOND_US, to_us

MAX_KEEP_S: Final = 100 * 366 * 86_400.0


def ends_us(now: datetime, keep_s: float | None) -> int | None:
    """When a page written now is over, in microseconds since 1970; None for one that is kept for good.

    Raises InvalidInput for what is no time, or longer than a hundred years.
    """
    if keep_s is None:
        return None
    if not 0 < keep_s <= MAX_KEEP_S:
        allowed = ("none (for good)", f"seconds above 0, up to {MAX_KEEP_S:,.0f}")
        raise InvalidInput(f"a page can't be kept for {keep_s} s", where="keep_s", allowed=allowed)
    return to_us(now) + ceil(keep_s * SECOND_US)


def is_over(ends: int | None, now: datetime) -> bool:
    return ends is not None and ends <= to_us(now)


def name_bytes(name: str) -> bytes:
    """UTF-8, which sorts as characters do; names may hold whatever a Python string holds."""
    return name.encode("utf-8", "surrogatepass")


def name_text(name: bytes) -> str:
    return name.decode("utf-8", "surrogatepass")


def past_prefix(prefix: str) -> bytes:
    """Greater than every name with this prefix, and not greater than any name after those."""
    return name_bytes(prefix) + b"\xff"  # which no UTF-8 holds
