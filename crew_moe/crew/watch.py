"""Who looks over a run while it goes on: is told as its tasks begin and end, and may have it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from decimal import Decimal
from threading import Condition, Event, Lock
from typing import Any, Final

from crew_moe.domain.word import Word
from crew_moe.ports import EventSink


class Stage(Word):
    """Where a task stands."""

    STARTED = "started"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A task has begun or ended. `finished` of `total` tasks are done, and the run has cost `cost_usd` so far.

    `expert_id` is who is expected to serve the task when it begins, and who gave its answer when it ends.
    """

    task: str
    stage: Stage
    finished: int
    total: int
    expert_id: str | None
    cost_usd: Decimal


Told = Callable[[Progress], None]


def _nothing() -> tuple[Mapping[str, str], Decimal]:
    return {}, Decimal(0)


class Watch:
    """Over one run. `so_far` gives who answered which task last, and the cost; it is set once the crew is built.

    `stopped` says whether a call was held back because somebody had cancelled the run. A listener that fails is told
    nothing more, and the run goes on.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        sink: EventSink,
        expected: Mapping[str, str | None],
        told: Told | None = None,
        cancel: Event | None = None,
    ) -> None:
        self.so_far: Callable[[], tuple[Mapping[str, str], Decimal]] = _nothing
        self.stopped = False
        self._tasks: Final = tuple(tasks)
        self._expected = expected
        self._told = told
        self._cancel = cancel
        self._sink = sink
        self._begun: set[str] = set()
        self._finished: set[str] = set()
        self._lock = Lock()
        self._idle = Condition()
        self._calls = 0
        self._over = False
        self._outside = copy_context()  # where the listener belongs: what it prints is not the crew's

    def cancelled(self) -> bool:
        """Asked before every call of a model; a yes stops it."""
        if self._cancel is not None and self._cancel.is_set():
            self.stopped = True
        return self.stopped or self._over

    @contextmanager
    def calling(self, task: str | None) -> Iterator[None]:
        """A call is made in here, for this task if it is for one."""
        with self._idle:
            self._calls += 1
        try:
            self._began(task)
            yield
        finally:
            with self._idle:
                self._calls -= 1
                self._idle.notify_all()

    def finish(self) -> None:
        """The run is over. Tasks that still work beside those that ended it make no further call; return when the calls
        that are under way have ended, which their own time limits see to.
        """
        self._over = True
        with self._idle:
            self._idle.wait_for(lambda: self._calls == 0)

    def _began(self, task: str | None) -> None:
        """The first call for a task is its beginning."""
        with self._lock:
            if task in self._tasks and task not in self._begun:
                self._begun.add(task)
                self._tell(task, Stage.STARTED, self._expected.get(task))

    def ended(self, output: Any) -> None:
        """CrewAI's callback at the end of each task."""
        task = str(getattr(output, "name", ""))
        self._began(task)
        with self._lock:
            if task in self._tasks and task not in self._finished:
                self._finished.add(task)
                self._tell(task, Stage.FINISHED, None)

    def _tell(self, task: str, stage: Stage, expert_id: str | None) -> None:
        if self._told is None:
            return
        served, cost_usd = self.so_far()
        progress = Progress(
            task=task,
            stage=stage,
            finished=len(self._finished),
            total=len(self._tasks),
            expert_id=expert_id or served.get(task),
            cost_usd=cost_usd,
        )
        try:
            self._outside.copy().run(self._told, progress)
        except Exception as error:  # noqa: BLE001 - somebody else's code; a crew does not end by who watches it
            self._told = None
            self._sink.emit("progress_not_told", task=task, error=type(error).__name__)
