"""litellm's router in a process and a virtual environment of its own, driven over pipes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final, Self

from tests.benchmarks.measure import Timing, timing

VERSION: Final = "1.106.0"
VENV: Final = Path(__file__).resolve().parents[2] / ".venv-litellm"
STRATEGIES: Final = (
    "simple-shuffle",
    "least-busy",
    "latency-based-routing",
    "usage-based-routing-v2",
    "cost-based-routing",
)


class PeerError(Exception):
    """litellm could not be installed or its worker died."""


def interpreter() -> Path:
    """The Python of litellm's environment, made on first use: litellm does not resolve beside crewai."""
    python = VENV / "bin" / "python"
    ready = VENV / f".ready-{VERSION}"
    if not ready.exists():
        sys.stderr.write(f"Installing litellm {VERSION} into {VENV.name} (once) ...\n")
        install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", f"litellm=={VERSION}"]
        for command in ([sys.executable, "-m", "venv", str(VENV)], install):
            if subprocess.run(command, check=False).returncode:
                raise PeerError(f"failed: {' '.join(command)}")
        ready.touch()
    return python


class LitellmPeer:
    """A running worker; `pick` measures one strategy. Use it as a context manager."""

    def __init__(self, python: Path) -> None:
        worker = Path(__file__).with_name("litellm_worker.py")
        self._process = subprocess.Popen(
            [str(python), str(worker)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def pick(self, strategy: str, *, text: str, calls: int) -> Timing:
        """CPU time of `calls` picks among 18 deployments for a message of `text`."""
        job = json.dumps({"strategy": strategy, "text": text, "calls": calls})
        if self._process.stdin is None or self._process.stdout is None:
            raise PeerError("the worker has no pipes")
        self._process.stdin.write(job + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise PeerError(f"the litellm worker ended with code {self._process.wait()}")
        return timing(json.loads(line)["samples_ns"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
