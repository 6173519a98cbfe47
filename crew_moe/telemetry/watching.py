"""Those who watch a router: told of everything that it does, where and when it does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from crew_moe.domain.happening import Happening, Noted
from crew_moe.ports import Clock, EventSink, Watcher


class Watchers:
    """Several watchers as one. One that raises is counted in `failed`, and nobody else hears of it: telemetry breaks
    no call.
    """

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self.all = tuple(watchers)
        self.failed = 0

    def saw(self, happening: Happening) -> None:
        for watcher in self.all:
            try:
                watcher.saw(happening)
            except Exception:  # noqa: BLE001 - the edge between a call and those who look on
                self.failed += 1


NOBODY: Final = Watchers(())


class WatchedSink:
    """Implements ports.EventSink: what it is told goes on to `sink`, and to the watchers."""

    def __init__(self, sink: EventSink, watchers: Sequence[Watcher], clock: Clock) -> None:
        self._sink = sink
        self._watchers = Watchers(watchers)
        self._clock = clock

    def emit(self, event: str, /, **fields: Any) -> None:
        self._sink.emit(event, **fields)
        self._watchers.saw(Noted(event, fields, self._clock.now()))


def watched(sink: EventSink, watchers: Sequence[Watcher], clock: Clock) -> EventSink:
    """The sink with watchers beside it; itself where there are none, or where it has them already."""
    return WatchedSink(sink, watchers, clock) if watchers and not isinstance(sink, WatchedSink) else sink
