"""The progress display follows the tasks, and passes events on."""

from __future__ import annotations

import io

import pytest
import structlog

from crew_moe.cli.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


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
        progress.task_done(None)
        progress.emit("expert_switched", from_expert="a", to_expert="b", error="timeout")

    assert "audit: a failed (timeout), now b" in terminal.getvalue()
    assert [event["event"] for event in events] == ["expert_switched"]


def test_all_tasks_done_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)

    with Progress(["triage"]) as progress:
        progress.task_done(None)

    assert "done" in terminal.getvalue()


def test_nothing_is_shown_where_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)

    with Progress(["triage"]) as progress:
        progress.begin()

    assert stream.getvalue() == ""
