"""The progress display follows the tasks, and passes events on."""

from __future__ import annotations

import io
from decimal import Decimal

import pytest
import structlog

from crew_moe.cli.progress import Progress
from crew_moe.crew.watch import Progress as News
from crew_moe.crew.watch import Stage


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _finished(task: str, finished: int, total: int) -> News:
    return News(
        task=task, stage=Stage.FINISHED, finished=finished, total=total, expert_id="gpt-4o", cost_usd=Decimal("0.01")
    )


def _terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Put a terminal in stderr's place; in the test itself, because pytest sets the streams anew before each phase."""
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return stream


def test_terminal_shows_task_and_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)

    with structlog.testing.capture_logs() as events, Progress(["triage", "audit"]) as progress:
        progress.begin()
        progress.told(_finished("triage", 1, 2))
        progress.emit("expert_switched", from_expert="a", to_expert="b", error="timeout")

    assert "audit: a failed (timeout), now b" in terminal.getvalue()
    assert [event["event"] for event in events] == ["expert_switched"]


def test_all_tasks_done_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)

    with Progress(["triage"]) as progress:
        progress.told(_finished("triage", 1, 1))

    assert "done" in terminal.getvalue()


def test_nothing_is_shown_where_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)

    with Progress(["triage"]) as progress:
        progress.begin()

    assert stream.getvalue() == ""
