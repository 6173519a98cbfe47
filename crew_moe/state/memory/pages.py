"""The pages of one process: a dictionary under one lock."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from crew_moe.domain.page import Page
from crew_moe.state.forking import survives_fork
from crew_moe.state.page import ends_us, is_over

FEW: Final = 64  # of these it is not worth while to look for those whose time is over


class MemoryPages:
    """Implements ports.PageStore for all threads of one process; forgotten when it ends."""

    def __init__(self) -> None:
        self._version = 0
        self._pages: dict[str, tuple[Page, int | None]] = {}  # and when it is over
        self._most = FEW
        self.begin_anew()
        survives_fork(self)

    def begin_anew(self) -> None:
        """After a fork: the pages stay, the parent's lock does not."""
        self._lock = threading.Lock()

    def version(self) -> int:
        return self._version

    def read(self, name: str, now: datetime) -> Page | None:
        with self._lock:
            page, ends = self._pages.get(name, (None, None))
        return None if is_over(ends, now) else page

    def pages(self, prefix: str, now: datetime) -> Sequence[Page]:
        with self._lock:
            kept = tuple(self._pages.values())
        return sorted(page for page, ends in kept if page.name.startswith(prefix) and not is_over(ends, now))

    def write(self, name: str, content: bytes, now: datetime, *, over: int, keep_s: float | None = None) -> bool:
        ends = ends_us(now, keep_s)
        with self._lock:
            before, its_end = self._pages.get(name, (None, None))
            if over != (0 if before is None or is_over(its_end, now) else before.version):
                return False
            self._version += 1
            self._pages[name] = (Page(name, content, self._version), ends)
            self._forget(now)
        return True

    def erase(self, prefix: str) -> int:
        with self._lock:
            gone = [name for name in self._pages if name.startswith(prefix)]
            for name in gone:
                del self._pages[name]
            self._version += bool(gone)
        return len(gone)

    def close(self) -> None:
        """Nothing to give back."""

    def _forget(self, now: datetime) -> None:
        if len(self._pages) > self._most:
            self._pages = {name: kept for name, kept in self._pages.items() if not is_over(kept[1], now)}
            self._most = max(FEW, 2 * len(self._pages))
