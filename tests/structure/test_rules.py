"""The rules that conftest.py lays on every test hold."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.structure.source import ROOT

SKIPPING = "import pytest\n\ndef test_skips():\n    pytest.skip('no such machine: needs two heads')\n"


def _run_strictly(folder: Path, *, allowed: str) -> subprocess.CompletedProcess[str]:
    """pytest --strict-skips over one skipping test, under this project's conftest.py."""
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    (folder / "allowed_skips.txt").write_text(allowed, encoding="utf-8")
    (folder / "test_skipping.py").write_text(SKIPPING, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--strict-skips",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        str(folder),
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_unlisted_skip_fails_a_strict_run(tmp_path: Path) -> None:
    done = _run_strictly(tmp_path, allowed="# nothing\n")

    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "no such machine: needs two heads" in done.stdout


def test_listed_skip_passes_a_strict_run(tmp_path: Path) -> None:
    done = _run_strictly(tmp_path, allowed="no such machine\n")

    assert done.returncode == pytest.ExitCode.OK, done.stdout


def test_reaching_out_of_this_machine_fails_a_test() -> None:
    with pytest.raises(RuntimeError, match=r"192\.0\.2\.1"):
        socket.create_connection(("192.0.2.1", 80), timeout=0.1)


def test_keys_of_whoever_runs_the_tests_are_forgotten() -> None:
    assert [name for name in os.environ if name.endswith("_API_KEY")] == []
