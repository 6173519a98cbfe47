"""Nothing unfinished, and no path of somebody's own machine, stands in the project."""

from __future__ import annotations

import re

import pytest

from tests.structure.source import python_files, relative, text_files

UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
HOME = re.compile(r"(?<![\w.~/*-])/(?:home|root|Users|work)/\w")
STUB = re.compile(r"NotImplemented" r"Error|raise Exception\(")


def _found(pattern: re.Pattern[str]) -> list[str]:
    hits = []
    for path in text_files():
        lines = path.read_text(encoding="utf-8", errors="ignore").splitlines()
        hits += [
            f"{relative(path)}:{number}: {line.strip()}" for number, line in enumerate(lines, 1) if pattern.search(line)
        ]
    return hits


@pytest.mark.parametrize("pattern", [UNFINISHED, HOME], ids=["unfinished", "home path"])
def test_word_is_nowhere(pattern: re.Pattern[str]) -> None:
    assert _found(pattern) == []


def test_package_has_no_stub() -> None:
    stubs = [relative(path) for path in python_files() if STUB.search(path.read_text(encoding="utf-8"))]

    assert stubs == []
