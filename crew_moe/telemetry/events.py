"""Events as structured log lines, and as a list to look at."""

from __future__ import annotations

import logging
import sys
from collections import deque
from functools import cached_property
from typing import Any, Final

from crew_moe.errors import InvalidInput

ALARMS: Final = frozenset(
    {
        "approver_failed",
        "budget_burn_rate",
        "budget_overrun",
        "budget_soft_limit",
        "charge_not_written",
        "cost_not_charged",
        "credentials_unreadable",
        "experiment_not_counted",
        "experiment_stopped",
        "gate_store_failed",
        "ledger_lost",
        "library_warned",
        "meters_lost",
        "rates_lost",
        "request_failed",
        "screening_failed",
        "state_lost",
        "tool_failed",
        "worker_ended",
        "worker_failed",
        "worker_killed",
    }
)
"""Events that somebody should look at: they are written at the level of warnings, which is shown by default."""

ROUTINE: Final = frozenset({"gate_allowed"})
"""Events that say that all is well: of interest to those who count."""


def log_setup(*, debug: bool = False) -> dict[str, Any]:
    """How to set structlog up: lines go to stderr, in the format and from the level that the environment sets."""
    import structlog

    from crew_moe.settings import read_settings

    settings = read_settings()
    level = "debug" if debug else settings.log_level
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if settings.log_format == "json":
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        # Plain tracebacks: rich ones show local variables, and a key may be among them.
        plain = structlog.dev.plain_traceback
        processors += [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    return {
        "processors": processors,
        "wrapper_class": structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        "logger_factory": structlog.PrintLoggerFactory(sys.stderr),
        "cache_logger_on_first_use": False,
    }


class LogSink:
    """Implements ports.EventSink with structlog. A sink that can't write stays silent: telemetry breaks no crew.

    A program that has configured structlog gets the lines its own way; else they go where `log_setup` says, for
    structlog's own default is stdout, which belongs to the program.
    """

    def emit(self, event: str, /, **fields: Any) -> None:
        level = logging.WARNING if event in ALARMS else logging.DEBUG if event in ROUTINE else logging.INFO
        try:
            self._log.log(level, event, **fields)
        except (OSError, ValueError, TypeError, InvalidInput):  # a closed stream, an unprintable field, a wrong level
            return

    @property
    def _log(self) -> Any:
        # Loaded with the first event: it brings as much memory as the whole deciding core.
        import structlog

        return structlog.get_logger("crew_moe") if structlog.is_configured() else self._own

    @cached_property
    def _own(self) -> Any:
        import structlog

        setup = log_setup()
        setup.pop("cache_logger_on_first_use")
        return structlog.wrap_logger(setup.pop("logger_factory")(), **setup)


class Recorder:
    """Implements ports.EventSink by keeping the newest `limit` events as (name, fields)."""

    def __init__(self, limit: int = 1000) -> None:
        self.events: deque[tuple[str, dict[str, Any]]] = deque(maxlen=limit)

    def emit(self, event: str, /, **fields: Any) -> None:
        self.events.append((event, fields))
