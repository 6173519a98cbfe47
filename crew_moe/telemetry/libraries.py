"""What libraries log: one line each that says who, where and what kind of error, and none of their words.

Their words may hold what a client sent.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from crew_moe.ports import EventSink
from crew_moe.telemetry.events import LogSink


class LibraryLines(logging.Handler):
    """Makes events of the records of the standard library's logging."""

    def __init__(self, sink: EventSink) -> None:
        super().__init__()
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        kind = record.exc_info[0] if record.exc_info else None
        self._sink.emit(
            "library_warned",
            library=record.name,
            place=f"{record.module}:{record.lineno}",
            kind=kind.__name__ if kind is not None else None,
        )


def tame(libraries: Iterable[str]) -> None:
    """From now on these, and all that have set up nothing of their own, are heard from warnings on, through
    LibraryLines alone.
    """
    for name in libraries:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)
    root = logging.getLogger()
    root.handlers[:] = [LibraryLines(LogSink())]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
