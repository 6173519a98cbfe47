"""Workers are started, replaced and ended, whatever becomes of them."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from crew_moe.service.workers import Work, Workers
from crew_moe.telemetry.events import Recorder
from tests.service.working import PLACE, fail, fall_once, hear_nothing
from tests.waiting import until


@pytest.fixture
def sink() -> Recorder:
    return Recorder()


def workers(work: Work, sink: Recorder, *, patience_s: float = 10.0) -> Workers:
    listener = socket.create_server(("127.0.0.1", 0))
    return Workers(work, 1, listener, patience_s=patience_s, sink=sink)


def stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def told(sink: Recorder, event: str) -> list[dict[str, Any]]:
    return [fields for name, fields in sink.events if name == event]


def test_workers_that_can_not_start_end_it(sink: Recorder) -> None:
    assert not workers(fail, sink).run(lambda: pytest.fail("nobody answers"))

    assert [fields["code"] for fields in told(sink, "worker_ended")] == [3]


def test_one_that_falls_over_is_replaced(sink: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLACE, str(tmp_path))
    answered: list[int] = []

    def watch() -> None:
        until((tmp_path / "stays").exists)
        stop()

    watching = threading.Thread(target=watch)
    watching.start()
    assert workers(fall_once, sink).run(lambda: answered.append(1))
    watching.join()

    assert answered == [1]
    assert [fields["code"] for fields in told(sink, "worker_ended")] == [-signal.SIGKILL]


def test_one_that_hears_nothing_is_killed(sink: Recorder) -> None:
    assert workers(hear_nothing, sink, patience_s=0.1).run(stop)

    assert len(told(sink, "worker_killed")) == 1
    assert told(sink, "worker_ended") == []


def test_signals_are_as_they_were_when_it_has_ended(sink: Recorder) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.pthread_sigmask(signal.SIG_BLOCK, ())

    workers(fail, sink).run(lambda: None)

    assert (signal.getsignal(signal.SIGTERM), signal.pthread_sigmask(signal.SIG_BLOCK, ())) == before
