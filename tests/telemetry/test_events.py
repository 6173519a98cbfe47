"""Where events go when the program has set up no logging, and when it has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from crew_moe.telemetry.events import LogSink


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    before = structlog.get_config() if structlog.is_configured() else None
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
    if before is not None:
        structlog.configure(**before)


def test_stdout_belongs_to_the_program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREW_MOE_LOG_LEVEL", "info")
    LogSink().emit("expert_switched", to_expert="two")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "to_expert=two" in shown.err


def test_environment_sets_level_and_format(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    LogSink().emit("expert_switched")
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("CREW_MOE_LOG_LEVEL", "info")
    monkeypatch.setenv("CREW_MOE_LOG_FORMAT", "json")
    LogSink().emit("expert_switched")
    assert '"event": "expert_switched"' in capsys.readouterr().err


def test_program_that_has_set_up_structlog_gets_the_events_its_own_way(capsys: pytest.CaptureFixture[str]) -> None:
    sink = LogSink()
    with structlog.testing.capture_logs() as lines:
        sink.emit("expert_switched", to_expert="two")
    assert [line["to_expert"] for line in lines] == ["two"]
    assert capsys.readouterr().err == ""


def test_sink_that_can_not_write_breaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREW_MOE_LOG_LEVEL", "loud")
    LogSink().emit("expert_switched")


def test_that_all_is_well_is_told_to_those_who_debug(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for level in ("info", "debug"):
        monkeypatch.setenv("CREW_MOE_LOG_LEVEL", level)
        LogSink().emit("gate_allowed", at=level)
    shown = capsys.readouterr().err

    assert "at=debug" in shown
    assert "at=info" not in shown
