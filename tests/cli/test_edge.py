"""Errors are one line, exit codes mean something, and what nobody foresaw says how to see more."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from crew_moe.cli import doctor
from crew_moe.errors import ExecutionFailed, InvalidInput, MissingExtra, StateError
from tests.cli.conftest import Cli

PROGRAM = [sys.executable, "-c", "import sys; from crew_moe.cli import main; sys.exit(main())"]
SLOW_TO_LOAD = ("crewai", "httpx", "numpy", "pydantic", "rich", "summa", "yaml")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Make `crew-moe doctor` fail with a given error."""

    def arrange(error: Exception) -> None:
        def fail() -> None:
            raise error

        monkeypatch.setattr(doctor, "_python", fail)

    return arrange


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInput("bad"), 2),
        (MissingExtra("crew", "crewai"), 2),
        (ExecutionFailed((), reason="x"), 1),
        (StateError("x"), 1),
    ],
)
def test_error_becomes_one_line_and_its_exit_code(
    cli: Cli, failing: Callable[[Exception], None], error: Exception, code: int
) -> None:
    failing(error)

    done = cli("doctor")

    assert done.code == code
    assert done.err == f"error: {error}\n"
    assert done.out == ""


def test_unforeseen_error_says_how_to_see_more(cli: Cli, failing: Callable[[Exception], None]) -> None:
    failing(ZeroDivisionError("oh"))

    done = cli("doctor")

    assert done.code == 1
    assert done.err == "error: ZeroDivisionError: oh (unexpected; crew-moe --debug doctor ... shows where)\n"


def test_interruption_is_said_and_has_the_exit_code_of_shells(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "_python", interrupted)

    done = cli("doctor")

    assert (done.code, done.err) == (130, "error: interrupted\n")


def test_log_lines_are_json_where_that_is_asked_for(
    cli: Cli, failing: Callable[[Exception], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREW_MOE_LOG_FORMAT", "json")
    failing(ZeroDivisionError("oh"))

    first = cli("--debug", "doctor").err.splitlines()[0]

    assert json.loads(first)["event"] == "command_failed"


def test_debug_shows_where_an_error_came_from(cli: Cli, failing: Callable[[Exception], None]) -> None:
    failing(ZeroDivisionError("oh"))

    done = cli("--debug", "doctor")

    assert "Traceback (most recent call last)" in done.err
    assert "test_edge.py" in done.err


def test_message_of_many_lines_stays_one_line(cli: Cli, failing: Callable[[Exception], None]) -> None:
    failing(InvalidInput("one\ntwo\x1b[31m"))

    assert cli("doctor").err == "error: one two[31m\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["rum"], "No such command 'rum'. Did you mean 'run'?; see crew-moe --help"),
        (["plan", "--lve"], "No such option: --lve"),
        (["pin"], "Missing argument 'EXPERT'"),
        (["experts", "--top", "x"], "Invalid value for '--top'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(cli: Cli, arguments: list[str], told: str) -> None:
    done = cli(*arguments)

    assert done.code == 2
    assert told in done.err
    assert done.err.count("\n") == 1


def test_wrong_environment_variable_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREW_MOE_LOG_LEVEL", "debugg")

    done = cli("doctor")

    assert done.code == 2
    assert "CREW_MOE_LOG_LEVEL" in done.err
    assert "did you mean 'debug'?" in done.err


def test_no_arguments_show_the_help(cli: Cli) -> None:
    done = cli()

    assert done.code == 0
    assert "Commands:" in done.out


def test_version_is_told(cli: Cli) -> None:
    done = cli("--version")

    assert done.code == 0
    assert done.out.strip()


def test_help_loads_nothing_that_takes_long() -> None:
    code = "import sys; from crew_moe.cli import main; main(['--help']); print(*sys.modules, file=sys.stderr)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert [name for name in SLOW_TO_LOAD if name in done.stderr.split()] == []


def test_program_ends_with_the_exit_code_of_the_command() -> None:
    done = subprocess.run([*PROGRAM, "pin", "claude-opus-44"], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "did you mean 'claude-opus-4'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_reader_that_leaves_early_is_no_error() -> None:
    program = subprocess.Popen([*PROGRAM, "experts", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert program.stdout is not None
    program.stdout.close()
    _, told = program.communicate(timeout=60)

    assert b"Traceback" not in told
