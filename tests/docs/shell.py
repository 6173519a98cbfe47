"""A reader's terminal: it runs the commands of a block, one after the other, and tells what each printed."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from crew_moe.cli import main
from tests.docs.blocks import KEY, OURS, Command, Places
from tests.service.program import serving

PATIENCE_S: Final = 60.0
PORTS: Final = {("serve",): 8005, ("local", "serve"): 8000}
EXPORT: Final = "export"


class Result(NamedTuple):
    """A command's exit code and what it printed."""

    code: int
    printed: str


class Terminal:
    """In the folder `here`. `crew-moe serve` goes on until `stack` closes; what only a shell can do, a shell does."""

    def __init__(
        self,
        here: Path,
        places: Places,
        stack: ExitStack,
        patch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self._here = here
        self._places = places
        self._stack = stack
        self._patch = patch
        self._capsys = capsys
        patch.setenv(KEY, places.key)
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)

    def run(self, command: Command) -> Result:
        for served, port in PORTS.items():
            if command.arguments[: len(served) + 1] == (OURS, *served):
                return self._serve(served, port, command.arguments[len(served) + 1 :])
        if command.arguments[0] == EXPORT:
            for given in command.arguments[1:]:
                self._patch.setenv(*given.split("=", 1))
            return Result(0, "")
        return self._main(command.arguments[1:]) if command.is_plain else self._shell(command.line)

    def _serve(self, served: tuple[str, ...], port: int, flags: tuple[str, ...]) -> Result:
        """What it says when it answers; it listens where nobody else does."""
        program = self._stack.enter_context(serving(self._here, *flags, command=served))
        return Result(0, program.said.replace(program.url, f"http://127.0.0.1:{port}"))

    def _main(self, arguments: tuple[str, ...]) -> Result:
        self._capsys.readouterr()
        code = main(arguments)
        printed = self._capsys.readouterr()
        return Result(code, printed.out + printed.err)

    def _shell(self, line: str) -> Result:
        done = subprocess.run(
            ["bash", "-c", self._places.put_into(line)],  # noqa: S607 - whichever bash a reader has
            cwd=self._here,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return Result(done.returncode, done.stdout)
