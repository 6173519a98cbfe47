"""The edge of the process: arguments in, an exit code out, and every error as one clear line."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Any, Final

import typer

from crew_moe.cli.app import app
from crew_moe.cli.output import fail
from crew_moe.errors import CrewMoEError, InvalidInput, MissingExtra

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130  # what typer makes of Ctrl-C, and shells expect
PROGRAM: Final = "crew-moe"

# The parent of all of typer's errors about arguments; where typer keeps it has changed between versions.
_BadUsage: Final[type[Any]] = typer.BadParameter.__bases__[0]


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code; nothing but an exit of the interpreter is raised."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    _tolerate_narrow_encodings()
    try:
        result = app(args=given, prog_name=PROGRAM, standalone_mode=False)
    except _BadUsage as error:
        return fail(_usage(error), USAGE)
    except typer.Abort:
        sys.stderr.write("\n")  # the question that was left open has no end of line
        return fail("stopped; nothing was changed", FAILED)
    except (InvalidInput, MissingExtra) as error:
        return _told(error, USAGE)
    except CrewMoEError as error:
        return _told(error, FAILED)
    except Exception as error:  # noqa: BLE001 - the edge of the process: whatever it was, it ends in one line
        _log(error)
        return fail(f"{_described(error)} (unexpected; {PROGRAM} --debug {given[0]} ... shows where)", FAILED)
    if result == INTERRUPTED:
        return fail("interrupted", INTERRUPTED)
    return result if isinstance(result, int) else DONE


def _told(error: CrewMoEError, code: int) -> int:
    _log(error)
    return fail(str(error), code)


def _log(error: Exception) -> None:
    """The error with its traceback, for those who listen at this level (`--debug`).

    Nobody does where the log itself could not be set up; structlog's own way would show the values of variables.
    """
    import structlog

    if structlog.is_configured():
        structlog.get_logger("crew_moe").info("command_failed", kind=type(error).__name__, exc_info=error)


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _usage(error: Any) -> str:
    command = getattr(getattr(error, "ctx", None), "command_path", PROGRAM)
    return f"{error.format_message().rstrip('.')}; see {command} --help"


def _tolerate_narrow_encodings() -> None:
    """A terminal that lacks a character shows another one instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
