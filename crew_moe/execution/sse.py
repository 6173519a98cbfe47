"""Server-sent events: bytes as they come in, the data of whole events out (WHATWG HTML, section 9.2.6)."""

from __future__ import annotations

import re
from typing import Final

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM: Final = b"\xef\xbb\xbf"


class EventDecoder:
    r"""Splits a stream into events, wherever the network cut it; comments and other fields than `data` are dropped.

    >>> decoder = EventDecoder()
    >>> decoder.feed(b": hello\ndata: {\"a\"") + decoder.feed(b": 1}\n\ndata: [DONE]\n\n")
    ['{"a": 1}', '[DONE]']
    """

    def __init__(self) -> None:
        self._pending: list[bytes] = []
        self._data: list[bytes] = []
        self._fresh = True

    def feed(self, piece: bytes) -> list[str]:
        """The data of the events that `piece` completes."""
        self._pending.append(piece)
        if b"\n" not in piece and b"\r" not in piece:
            return []
        buffer = b"".join(self._pending)
        # A trailing CR may be the first half of CRLF: it waits for its other half.
        complete = len(buffer) - 1 if buffer.endswith(b"\r") else len(buffer)
        events: list[str] = []
        start = 0
        for end in _LINE_END.finditer(buffer, 0, complete):
            self._take(buffer[start : end.start()], events)
            start = end.end()
        self._pending = [buffer[start:]]
        return events

    def finish(self) -> list[str]:
        """The event that the end of the stream leaves complete but for its empty line, as some servers end."""
        return self.feed(b"\n\n")

    def _take(self, line: bytes, events: list[str]) -> None:
        if self._fresh:
            line, self._fresh = line.removeprefix(_BOM), False
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        elif not line and self._data:
            events.append(b"\n".join(self._data).decode("utf-8", errors="replace"))
            self._data = []
