"""The pieces of a streamed answer, from the thread that makes them to the loop that reads them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

ROOM: Final = 64
"""How many pieces may wait for a slow reader; then the thread waits for it."""


class Pipe:
    """Made by the reader, in its running loop."""

    def __init__(self, room: int = ROOM) -> None:
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue()
        self._room = threading.Semaphore(room)
        self._closed = threading.Event()
        self.started = False
        """Whether the reader was given anything."""

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def put(self, piece: str) -> bool:
        """In any thread: hand a piece on, when there is room; False when nobody reads any more."""
        self._room.acquire()
        if self._closed.is_set():
            return False
        self.started = True
        with suppress(RuntimeError):  # the reader's loop has ended
            self._loop.call_soon_threadsafe(self._pieces.put_nowait, piece)
        return True

    def end(self) -> None:
        """In the reader's loop: nothing comes any more."""
        self._pieces.put_nowait(None)

    def close(self) -> None:
        """In any thread: nobody reads any more; a thread that waits for room goes on."""
        self._closed.set()
        self._room.release()

    async def pieces(self) -> AsyncIterator[str]:
        """Each piece as it comes, until `end`."""
        while (piece := await self._pieces.get()) is not None:
            self._room.release()
            yield piece
