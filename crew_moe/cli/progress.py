"""What a run shows while it works: the task under way and every switch, on stderr and only on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from crew_moe.cli.output import err
from crew_moe.crew.watch import Progress as News
from crew_moe.crew.watch import Stage
from crew_moe.telemetry.events import LogSink


class Progress:
    """A bar over the tasks of a crew. It is an EventSink too: what the router reports goes to the log as ever."""

    def __init__(self, tasks: Sequence[str]) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        console = err()
        # CrewAI's own output is caught elsewhere, so the bar leaves the streams alone.
        self._bar = Bar(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not console.is_terminal,
        )
        self._left = list(tasks)
        self._log = LogSink()
        self._task = self._bar.add_task("loading CrewAI", total=len(tasks))

    def begin(self) -> None:
        """The first task is under way."""
        self._bar.update(self._task, description=self._current())

    def emit(self, event: str, /, **fields: Any) -> None:
        """Implements ports.EventSink; a switch of experts is shown."""
        self._log.emit(event, **fields)
        if event == "expert_switched":
            switch = f"{fields['from_expert']} failed ({fields['error']}), now {fields['to_expert']}"
            self._bar.update(self._task, description=f"{self._current()}: {switch}")
        elif event == "call_held":
            self._bar.update(self._task, description=f"{self._current()}: waits for approval {fields['approval_id']}")

    def told(self, news: News) -> None:
        """A task has begun or ended."""
        self._left = [task for task in self._left if task != news.task or news.stage is Stage.STARTED]
        self._bar.update(self._task, completed=news.finished, description=self._current())

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal to somebody who reads and types."""
        self._bar.stop()
        try:
            yield
        finally:
            self._bar.start()

    def _current(self) -> str:
        return self._left[0] if self._left else "done"

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
