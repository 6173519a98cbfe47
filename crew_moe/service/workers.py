"""Worker processes over one listening socket: started, replaced when they end, and ended in good order."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import Pipe, get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from threading import Thread
from typing import Any, Final

from crew_moe.ports import EventSink
from crew_moe.telemetry.metrics import mark_dead

STOPS: Final = (signal.SIGTERM, signal.SIGINT)
QUICK_S: Final = 10.0
"""A worker that ended sooner has something wrong with it: the next one waits, longer each time."""
MAX_PAUSE_S: Final = 30.0

Work = Callable[[socket.socket, Callable[[], None]], None]
"""Serves on the socket until SIGTERM, and calls the second argument when it answers. A function of a module."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One process; `news` is readable when it answers requests, or has ended."""

    process: SpawnProcess
    news: Connection
    began: float = field(default_factory=time.monotonic)


class Workers:
    """Keeps `count` processes at `work`, each an interpreter of its own.

    `patience_s`: how long one may take to end when it is told to. One that ends unasked is replaced, and told of as
    `worker_ended`; one that ends before any has answered ends them all.
    """

    def __init__(self, work: Work, count: int, listener: socket.socket, *, patience_s: float, sink: EventSink) -> None:
        self._work = work
        self._count = count
        self._listener = listener
        self._patience_s = patience_s
        self._sink = sink
        self._workers: list[Worker] = []
        self._waiting: set[Worker] = set()
        self._answered = False
        self._quick = 0
        self._next_start = 0.0

    def run(self, started: Callable[[], None]) -> bool:
        """Until SIGTERM or Ctrl-C; `started` is called when the first worker answers. False where none could start."""
        with _stops() as stops:
            try:
                return self._keep(stops, started)
            finally:
                self._end()

    def _keep(self, stops: Connection, started: Callable[[], None]) -> bool:
        while True:
            self._fill()
            news = {worker.news: worker for worker in self._waiting}
            ends = {worker.process.sentinel: worker for worker in self._workers}
            ready = wait([stops, *news, *ends], timeout=self._idle_s)
            if stops in ready:
                return True
            for worker in [news[one] for one in ready if one in news]:
                self._hear(worker, started)
            for worker in [ends[one] for one in ready if one in ends]:
                self._bury(worker)
                if not self._answered:
                    return False

    @property
    def _idle_s(self) -> float | None:
        """How long nothing is to do of its own accord; None: for ever."""
        return max(0.0, self._next_start - time.monotonic()) if len(self._workers) < self._count else None

    def _fill(self) -> None:
        while len(self._workers) < self._count and time.monotonic() >= self._next_start:
            worker = _started(self._work, self._listener)
            self._workers.append(worker)
            self._waiting.add(worker)

    def _hear(self, worker: Worker, started: Callable[[], None]) -> None:
        self._waiting.discard(worker)
        try:
            worker.news.recv_bytes()
        except EOFError:
            return
        if not self._answered:
            self._answered = True
            started()

    def _bury(self, worker: Worker) -> None:
        """Count no more what it held, and have a new one in its place."""
        self._workers.remove(worker)
        self._waiting.discard(worker)
        worker.process.join()  # its pipe is closed a moment before it is gone
        self._sink.emit("worker_ended", pid=worker.process.pid, code=worker.process.exitcode)
        self._forget(worker)
        self._quick = self._quick + 1 if time.monotonic() - worker.began < QUICK_S else 0
        pause = min(MAX_PAUSE_S, 2.0 ** (self._quick - 2)) if self._quick > 1 else 0.0
        self._next_start = time.monotonic() + pause

    def _end(self) -> None:
        """Tell all to end, and make those end that don't."""
        self._listener.close()
        for worker in self._workers:
            worker.process.terminate()
        ends = time.monotonic() + self._patience_s
        for worker in self._workers:
            worker.process.join(max(0.0, ends - time.monotonic()))
            if worker.process.is_alive():
                self._sink.emit("worker_killed", pid=worker.process.pid)
                worker.process.kill()
                worker.process.join()
            self._forget(worker)

    def _forget(self, worker: Worker) -> None:
        worker.news.close()
        if worker.process.pid is not None:
            mark_dead(worker.process.pid)


def _started(work: Work, listener: socket.socket) -> Worker:
    """A new worker. Signals reach it from when it can take them: before, Ctrl-C would end it with a traceback."""
    news, tell = Pipe(duplex=False)
    process = get_context("spawn").Process(target=_live, args=(work, listener, tell))
    usual = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, usual)
    tell.close()
    return Worker(process=process, news=news)


def _live(work: Work, listener: socket.socket, tell: Connection) -> None:
    """The life of a worker, in its own process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends its workers
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    Thread(target=_follow_parent, daemon=True).start()
    work(listener, lambda: tell.send_bytes(b"answers"))


def _follow_parent() -> None:
    """A worker whose parent was killed would serve on, and nobody would know."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _stops() -> Iterator[Connection]:
    """Readable once SIGTERM or Ctrl-C has come."""
    readable, writable = Pipe(duplex=False)

    def told(*_: Any) -> None:
        writable.send_bytes(b"stop")

    usual = {number: signal.signal(number, told) for number in STOPS}
    try:
        yield readable
    finally:
        for number, before in usual.items():
            signal.signal(number, before)
        readable.close()
        writable.close()
