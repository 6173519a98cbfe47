"""An event loop in a daemon thread of its own, for work that outlives its callers' loops or has none."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for any thread. Belongs to the process that made it: a forked child needs one of its own.

    `closed` makes the exception for work that the stop of the loop ended, or that came after it.
    """

    def __init__(self, name: str, *, closed: Callable[[], Exception]) -> None:
        self._closed = closed
        self._pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._stopping = False
        self._at_end: list[Callable[[], Awaitable[None]]] = []
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether work may be given to it, here and now."""
        return not self._stopping and self._pid == os.getpid()

    def at_end(self, cleanup: Callable[[], Awaitable[None]]) -> None:
        """Await `cleanup` on the loop when it stops."""
        self._at_end.append(cleanup)

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start `work`; cancelling the future cancels it. It ends with `closed()` when the loop stops first."""
        # Under the lock, whatever is accepted is in the loop's queue before its stop, so no future is left hanging.
        with self._lock:
            if self.alive:
                return asyncio.run_coroutine_threadsafe(self._guarded(work), self._loop)
        work.close()
        refused: Future[T] = Future()
        refused.set_exception(self._closed())
        return refused

    def stop(self) -> None:
        """Cancel what runs, await the cleanups, end the thread. Does nothing the second time, or in a forked child."""
        if self._pid != os.getpid():
            return
        with self._lock:
            if self._stopping:
                return
            self._stopping = True
            self._loop.call_soon_threadsafe(self._loop.stop)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    async def _guarded(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await work
        except asyncio.CancelledError:
            if not self._stopping:
                raise
        raise self._closed()

    def _serve(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._end())
        finally:
            self._loop.close()

    async def _end(self) -> None:
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for cleanup in self._at_end:
            await cleanup()
