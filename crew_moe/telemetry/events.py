"""Events as structured log lines, and as a list to look at."""

from __future__ import annotations

from collections import deque
from typing import Any

import structlog


class LogSink:
    """Implements ports.EventSink with structlog; a sink that fails is reported once per event and never raises."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("crew_moe")

    def emit(self, event: str, /, **fields: Any) -> None:
        try:
            self._log.info(event, **fields)
        except (OSError, ValueError, TypeError):
            # A closed stream or an unprintable field must not break a crew.
            return


class Recorder:
    """Implements ports.EventSink by keeping the newest `limit` events as (name, fields)."""

    def __init__(self, limit: int = 1000) -> None:
        self.events: deque[tuple[str, dict[str, Any]]] = deque(maxlen=limit)

    def emit(self, event: str, /, **fields: Any) -> None:
        self.events.append((event, fields))
