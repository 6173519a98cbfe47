"""Without torch, transformers and Ray everything else works, and what can't be tried says so."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.structure.source import ROOT

ABSENT = "torch,transformers,tokenizers,ray"
TRIED = (
    "crew_moe/local_gate",
    "tests/cli/local",
    "tests/contracts/test_hosts.py",
    "tests/local_gate",
    "tests/service/local",
    "tests/structure",
)
REASON = re.compile(r"(torch|transformers|tokenizers|ray) is not installed$|unable to import module ")


@pytest.mark.accept
def test_tests_of_the_local_gate_pass_or_are_skipped_with_their_reason() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rs",
        "-n",
        "2",
        "-p",
        "no:cacheprovider",
        f"--without={ABSENT}",
        *TRIED,
    ]

    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=400)

    skips = re.findall(r"^SKIPPED \[\d+\] [^:]+(?::\d+)?: (.*)$", ran.stdout, re.MULTILINE)
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert skips
    assert [reason for reason in skips if not REASON.search(reason)] == []
