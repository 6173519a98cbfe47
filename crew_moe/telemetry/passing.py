"""Headers that go along with a call of a provider because of where it comes from, not of what it asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_NOTHING: Final[Mapping[str, str]] = {}
_ALONG: Final[ContextVar[Mapping[str, str]]] = ContextVar("crew_moe_passed_on", default=_NOTHING)


def passed_on() -> Mapping[str, str]:
    """The headers for a call that begins now."""
    return _ALONG.get()


@contextmanager
def passing_on(headers: Mapping[str, str]) -> Iterator[None]:
    """Calls that begin inside have these headers."""
    token = _ALONG.set(headers)
    try:
        yield
    finally:
        _ALONG.reset(token)
