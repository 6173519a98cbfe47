"""Keeps what CrewAI prints away from the program's own output, also where several crews run at once.

A program's stdout may be an answer, or a protocol. While a crew runs, stdout and stderr are replaced by stand-ins that
look at who writes: what is written in the context of a run goes where that run wants it, all else to the program's own
streams. CrewAI carries the context along into its threads.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any, Final, TextIO

# CrewAI calls home and asks questions unless it is told not to, before it is imported. What the user set stays.
QUIET: Final[Mapping[str, str]] = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "OTEL_SDK_DISABLED": "true",
}
_HEARD: Final[ContextVar[TextIO | io.TextIOBase | None]] = ContextVar("crew_moe_chatter", default=None)


def hush() -> None:
    """Have CrewAI neither call home nor ask; call it before CrewAI is imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


@contextmanager
def quiet(chatter: TextIO | None = None) -> Iterator[None]:
    """What is printed in here goes to `chatter`; None: nowhere."""
    hush()
    token = _HEARD.set(chatter or _Nowhere())
    _STAND_INS.enter()
    try:
        yield
    finally:
        _STAND_INS.leave()
        _HEARD.reset(token)


class _Nowhere(io.TextIOBase):
    """Keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)


class _StandIn:
    """In the place of a stream of the program."""

    def __init__(self, own: TextIO) -> None:
        self._own = own

    def __getattr__(self, name: str) -> Any:
        return getattr(_HEARD.get() or self._own, name)


class _StandIns:
    """Put up by the first run that begins, taken away by the last one that ends."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._runs = 0
        self._put: dict[str, tuple[TextIO, _StandIn]] = {}

    def enter(self) -> None:
        with self._lock:
            self._runs += 1
            if self._runs > 1:
                return
            for name in ("stdout", "stderr"):
                own = getattr(sys, name)
                self._put[name] = own, _StandIn(own)
                setattr(sys, name, self._put[name][1])

    def leave(self) -> None:
        with self._lock:
            self._runs -= 1
            if self._runs:
                return
            for name, (own, stand_in) in self._put.items():
                if getattr(sys, name) is stand_in:  # else somebody else has replaced it meanwhile, who will put it back
                    setattr(sys, name, own)
            self._put.clear()


_STAND_INS: Final = _StandIns()
