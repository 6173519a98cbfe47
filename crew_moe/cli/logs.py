"""Where log lines of a command go: stderr, in the format and from the level that the environment sets."""

from __future__ import annotations

from crew_moe.telemetry.events import log_setup


def configure_logs(*, debug: bool) -> None:
    """Send structured events to stderr; `debug` shows all of them, tracebacks included."""
    import structlog

    structlog.configure(**log_setup(debug=debug))
