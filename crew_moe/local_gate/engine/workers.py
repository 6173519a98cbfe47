"""Threads for what blocks. They are started when there is work for them, and none outlives the close."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class Workers:
    """Does each call in a thread of its own, a free one where there is one. There are `most` threads at most, for whose
    turn later calls wait; without it, whoever calls bounds how many there are.

    The threads are daemons: a model that never comes back holds up no program's end.
    """

    def __init__(self, name: str, *, most: int | None = None) -> None:
        self._name = name
        self._most = most
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._free = 0
        """How many threads wait for calls; below 0, how many calls wait for threads."""
        self._threads: list[threading.Thread] = []
        self._closed = False

    def do(self, call: Callable[[], object]) -> bool:
        """Have it done soon; it must not raise. False after `close`: then it is not done.

        Raises RuntimeError where the machine gives no thread for it.
        """
        with self._lock:
            if self._closed:
                return False
            if self._free > 0 or len(self._threads) == self._most:
                self._free -= 1
            else:
                number = len(self._threads)
                thread = threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True)
                thread.start()
                self._threads.append(thread)
            self._calls.put(call)
            return True

    def result(self, call: Callable[[], T]) -> Future[T]:
        """What it gives or raises, once it is done; cancelled after `close`."""
        future: Future[T] = Future()

        def fulfil() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 - it is whoever asked for the result that it concerns
                future.set_exception(error)

        try:
            if not self.do(fulfil):
                future.cancel()
        except RuntimeError as error:
            future.set_exception(error)
        return future

    def close(self, within_s: float) -> bool:
        """Let the threads end what they do; whether all of them did in time. Idempotent."""
        with self._lock:
            first, self._closed = not self._closed, True
        for _ in self._threads if first else ():
            self._calls.put(None)
        end = time.monotonic() + within_s
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            del call
            with self._lock:
                self._free += 1
