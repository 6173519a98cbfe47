"""Where log lines of a command go: stderr, in the format and from the level that the environment sets."""

from __future__ import annotations

import logging
import sys
from typing import Any


def configure_logs(*, debug: bool) -> None:
    """Send structured events to stderr; `debug` shows all of them, tracebacks included."""
    import structlog

    from crew_moe.settings import read_settings

    settings = read_settings()
    level = "debug" if debug else settings.log_level
    processors: list[Any] = [structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]
    if settings.log_format == "json":
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        # Plain tracebacks: rich ones show local variables, and a key may be among them.
        plain = structlog.dev.plain_traceback
        processors += [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
