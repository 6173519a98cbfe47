"""`crew-moe serve` as its users have it: a program of its own, on a free port of loopback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from tests.waiting import until

PROGRAM: Final = (sys.executable, "-c", "import sys; from crew_moe.cli import main; sys.exit(main())")
ROOT: Final = Path(__file__).parents[2]
PATIENCE_S: Final = 60.0
_SERVING: Final = re.compile(r"^Serving at (http://\S+?)(?:,.*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Program:
    """A service that answers at `url`."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    @property
    def said(self) -> str:
        """What stands on its stderr until now."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def printed(self) -> str:
        """What stands on its stdout until now."""
        return self.log.with_suffix(".out").read_text(encoding="utf-8")

    def client(self, **options: object) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=PATIENCE_S, **options)  # type: ignore[arg-type]

    def tell(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def interrupt(self) -> None:
        """What Ctrl-C sends, to it and to all of its workers."""
        os.killpg(self.process.pid, signal.SIGINT)

    def stays(self, seconds: float) -> bool:
        """Whether it still runs after so long."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def end(self, number: int = signal.SIGTERM) -> int:
        """Its exit code, after this signal."""
        self.tell(number)
        return self.process.wait(PATIENCE_S)


@contextmanager
def serving(
    folder: Path, *flags: str, env: Mapping[str, str] | None = None, command: Sequence[str] = ("serve",)
) -> Iterator[Program]:
    """The program with these flags, once it answers; ended with the block, if it still runs. Its log is in `folder`."""
    log = folder / "serve.log"
    with log.open("w", encoding="utf-8") as stderr, log.with_suffix(".out").open("w", encoding="utf-8") as stdout:
        process = subprocess.Popen(
            [*PROGRAM, *command, "--port", "0", *flags],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
            stdout=stdout,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
    try:
        yield Program(process, _url_of(process, log), log)
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        finally:
            process.kill()
            process.wait()


def _url_of(process: subprocess.Popen[str], log: Path) -> str:
    """Where it listens, as it says itself."""
    until(lambda: process.poll() is not None or bool(_SERVING.search(log.read_text())), PATIENCE_S)
    found = _SERVING.search(log.read_text())
    assert found is not None, log.read_text()
    return found[1]
