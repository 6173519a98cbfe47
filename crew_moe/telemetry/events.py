"""Events as structured log lines, and as a list to look at."""

from __future__ import annotations

from collections import deque
from functools import cached_property
from typing import Any


class LogSink:
    """Implements ports.EventSink with structlog. A sink that can't write stays silent: telemetry breaks no crew."""

    def emit(self, event: str, /, **fields: Any) -> None:
        try:
            self._log.info(event, **fields)
        except (OSError, ValueError, TypeError):  # a closed stream, a field that can't be printed
            return

    @cached_property
    def _log(self) -> Any:
        # Loaded with the first event: it brings as much memory as the whole deciding core.
        import structlog

        return structlog.get_logger("crew_moe")


class Recorder:
    """Implements ports.EventSink by keeping the newest `limit` events as (name, fields)."""

    def __init__(self, limit: int = 1000) -> None:
        self.events: deque[tuple[str, dict[str, Any]]] = deque(maxlen=limit)

    def emit(self, event: str, /, **fields: Any) -> None:
        self.events.append((event, fields))
