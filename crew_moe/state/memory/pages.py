"""The pages of one process: a dictionary under one lock."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime
from heapq import heappop, heappush
from typing import Final

from crew_moe.domain.page import Page
from crew_moe.state.forking import survives_fork
from crew_moe.state.page import ends_us, is_over

FEW: Final = 64


class MemoryPages:
    """Implements ports.PageStore for all threads of one process; forgotten when it ends."""

    def __init__(self) -> None:
        self._version = 0
        self._pages: dict[str, tuple[Page, int | None]] = {}  # and when it is over
        self._endings: list[tuple[int, int, str]] = []  # a heap: when, of which version, of which page
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
            self._forget(now)
            before, _ = self._pages.get(name, (None, None))
            if over != (0 if before is None else before.version):
                return False
            self._version += 1
            self._pages[name] = (Page(name, content, self._version), ends)
            self._remember(ends, name)
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

    def _remember(self, ends: int | None, name: str) -> None:
        """Note when the newest page ends; notes of pages that were replaced go before they outnumber the others."""
        if ends is not None:
            heappush(self._endings, (ends, self._version, name))
        if len(self._endings) > 2 * len(self._pages) + FEW:
            kept = ((ends, page.version, page.name) for page, ends in self._pages.values() if ends is not None)
            self._endings = sorted(kept)  # which is a heap

    def _forget(self, now: datetime) -> None:
        """Drop the pages whose time is over."""
        while self._endings and is_over(self._endings[0][0], now):
            _, version, name = heappop(self._endings)
            page, _ = self._pages.get(name, (None, None))
            if page is not None and page.version == version:  # no later one has come in its place
                del self._pages[name]
