"""What tests of the command line share: the command itself, in this process, and a project to work on."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from crew_moe.catalog import packaged_config
from crew_moe.cli import main

# Read when crewai is imported, so set before.
os.environ.setdefault("CREWAI_STORAGE_DIR", tempfile.mkdtemp(prefix="crew-moe-tests-"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What one command left: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout as JSON; fails when anything else stands there."""
        return json.loads(self.out)


Cli = Callable[..., Done]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """Run `crew-moe` with these arguments, on a terminal of 100 columns without colours."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*arguments: object) -> Done:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Done(code=code, out=printed.out, err=printed.err)

    yield run
    structlog.reset_defaults()


@pytest.fixture
def crew_dir(tmp_path: Path) -> Path:
    """A copy of the demonstration crew's two files, to be changed."""
    folder = tmp_path / "crew"
    folder.mkdir()
    for name in ("agents.yaml", "tasks.yaml"):
        shutil.copy(packaged_config() / name, folder)
    return folder


@pytest.fixture
def state(tmp_path: Path) -> str:
    """A state that outlives one command."""
    return f"sqlite:///{tmp_path / 'state.db'}"
