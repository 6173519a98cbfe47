"""Keeps what CrewAI prints away from the program's own output, also where several crews run at once.

A program's stdout may be an answer, or a protocol. From the first run on, stand-ins for stdout and stderr look at who
writes: what is written in the context of a run goes where that run wants it, all else to the program's own streams.
CrewAI carries the context along into its threads. The stand-ins stay, for a thread that a run has left behind may
still have something to say.
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
_LOCK: Final = Lock()
_HEARD: Final[ContextVar[TextIO | io.TextIOBase | None]] = ContextVar("crew_moe_chatter", default=None)


def hush() -> None:
    """Have CrewAI neither call home nor ask; call it before CrewAI is imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


@contextmanager
def quiet(chatter: TextIO | None = None) -> Iterator[None]:
    """What is printed in here goes to `chatter`; None: nowhere."""
    hush()
    _stand_in()
    token = _HEARD.set(chatter or _Nowhere())
    try:
        yield
    finally:
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


def _stand_in() -> None:
    """Put a stand-in before each stream that has none; a program without a console has no streams."""
    with _LOCK:
        for name in ("stdout", "stderr"):
            own = getattr(sys, name)
            if own is not None and not isinstance(own, _StandIn):
                setattr(sys, name, _StandIn(own))
