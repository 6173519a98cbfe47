"""Lists by pages: a cursor names the last row that was seen, so that a page never repeats or skips what stays."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from crew_moe.errors import InvalidRequest, UnknownCursor

T = TypeVar("T")

MAX_LIMIT: Final = 100
DEFAULT_LIMIT: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """`next_cursor` is None on the last page; `total` counts the rows of all pages."""

    rows: tuple[T, ...]
    next_cursor: str | None
    total: int


def page_of(rows: Sequence[T], name: Callable[[T], str], *, cursor: str | None, limit: int = DEFAULT_LIMIT) -> Page[T]:
    """The rows after the one that `cursor` names, by name. Raises UnknownCursor for one that nobody gave."""
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidRequest(f"must be from 1 to {MAX_LIMIT}", where="limit")
    seen = "" if cursor is None else _name_in(cursor)
    ordered = sorted(rows, key=name)
    rest = [row for row in ordered if name(row) > seen] if seen else ordered
    shown, more = tuple(rest[:limit]), len(rest) > limit
    return Page(rows=shown, next_cursor=_cursor(name(shown[-1])) if more else None, total=len(rows))


def _cursor(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _name_in(cursor: str) -> str:
    try:
        name = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        name = ""
    if not name:
        raise UnknownCursor
    return name
