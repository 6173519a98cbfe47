"""What is printed in a run goes where that run wants it, however many there are and however they overlap."""

from __future__ import annotations

import io
import os
import sys
import threading
from contextlib import redirect_stdout
from contextvars import copy_context

import pytest

from crew_moe.crew.quiet import QUIET, hush, quiet


def test_what_is_printed_goes_to_the_run_that_prints_it() -> None:
    first, second = io.StringIO(), io.StringIO()
    with quiet(first):
        print("one")  # noqa: T201 - what is tested
        with quiet(second):
            print("two", file=sys.stderr)  # noqa: T201 - what is tested
        print("three")  # noqa: T201 - what is tested

    assert (first.getvalue(), second.getvalue()) == ("one\nthree\n", "two\n")


def test_without_a_place_it_goes_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet():
        print("lost")  # noqa: T201 - what is tested
    print("kept")  # noqa: T201 - what is tested

    assert capsys.readouterr().out == "kept\n"


def test_runs_that_overlap_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = quiet(), quiet()
    inner, outer = copy_context(), copy_context()
    inner.run(first.__enter__)
    outer.run(second.__enter__)
    inner.run(first.__exit__, None, None, None)
    outer.run(print, "lost")
    inner.run(print, "kept")
    print("kept too")  # noqa: T201 - what is tested
    outer.run(second.__exit__, None, None, None)

    assert capsys.readouterr().out == "kept\nkept too\n"


def test_thread_that_a_run_left_behind_is_not_heard(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet():
        behind = copy_context()
    behind.run(print, "late")
    print("kept")  # noqa: T201 - what is tested

    assert capsys.readouterr().out == "kept\n"


def test_thread_of_a_run_belongs_to_it_and_others_do_not(capsys: pytest.CaptureFixture[str]) -> None:
    heard = io.StringIO()
    with quiet(heard):
        mine = threading.Thread(target=copy_context().run, args=(print, "mine"))
        for thread in (mine, threading.Thread(target=print, args=("theirs",))):
            thread.start()
            thread.join()

    assert (heard.getvalue(), capsys.readouterr().out) == ("mine\n", "theirs\n")


def test_stream_that_somebody_puts_up_meanwhile_is_theirs() -> None:
    theirs = io.StringIO()
    with quiet(), redirect_stdout(theirs):
        print("told")  # noqa: T201 - what is tested

    assert theirs.getvalue() == "told\n"


def test_program_without_a_console_stays_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    with quiet():
        assert sys.stdout is None


def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in QUIET:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CREWAI_TRACING_ENABLED", "true")
    hush()

    assert {name: os.environ[name] for name in QUIET} == {**QUIET, "CREWAI_TRACING_ENABLED": "true"}
