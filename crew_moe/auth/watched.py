"""A file of credentials that may change while it is in use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

from crew_moe.errors import ConfigError
from crew_moe.ports import EventSink

Content = TypeVar("Content")
Mark = tuple[int, int, int] | None


class Watched(Generic[Content]):
    """What a file says, read again whenever it changes, so that a withdrawal needs no restart.

    A file that can't be read any more leaves the last good content in force, and tells so once. Opening it raises
    ConfigError when it can't be read at all. Safe for threads.
    """

    def __init__(self, path: Path, read: Callable[[Path], Content], *, sink: EventSink) -> None:
        self._path = path
        self._read = read
        self._sink = sink
        self._lock = Lock()
        self._mark = _mark(path)
        self._content = read(path)
        self.version = 0

    @property
    def changed(self) -> bool:
        """Whether the file is another one than was read last: to look costs a microsecond or two."""
        return _mark(self._path) != self._mark

    def current(self) -> Content:
        """The content as the file has it now, if it can be read, else as it had it last."""
        if self.changed:
            with self._lock:
                self._reread()
        return self._content

    def _reread(self) -> None:
        mark = _mark(self._path)
        if mark == self._mark:
            return
        try:
            self._content = self._read(self._path)
        except ConfigError as error:
            self._sink.emit("credentials_unreadable", file=str(self._path), error=str(error))
        else:
            self.version += 1
            self._sink.emit("credentials_read", file=str(self._path))
        self._mark = mark


def _mark(path: Path) -> Mark:
    """What differs between two contents of a file, short of reading them; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
