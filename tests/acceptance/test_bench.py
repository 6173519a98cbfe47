"""`make bench` runs to its end and says what it measured."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.accept
def test_bench_reports_every_target_of_its_own() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.bench", "--quick", "--json"]

    done = subprocess.run([*command, "--only", "texts", "batch", "imports"], capture_output=True, text=True, check=True)

    figures = json.loads(done.stdout)
    assert {figure["name"].strip() for figure in figures} >= {"growth", "200 characters", "import crew_moe"}
    assert all(figure["value"] > 0 for figure in figures if figure["unit"] != "kB")
