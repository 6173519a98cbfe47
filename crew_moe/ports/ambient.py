"""What is around everything: time, and those who are told what happens."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from crew_moe.domain.happening import Happening


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> datetime:
        """Aware UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back, for measuring."""


class EventSink(Protocol):
    """Takes structured events (switches, breaker changes, refusals); must not raise."""

    def emit(self, event: str, /, **fields: Any) -> None: ...


class Watcher(Protocol):
    """Is told what a router does, by the thread that does it: it must neither wait nor raise."""

    def saw(self, happening: Happening) -> None: ...
