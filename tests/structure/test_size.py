"""No file, function or branch tangle outgrows its limit without a named reason."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.structure.sizes import FILE_LIMIT, FUNCTION_LIMIT, MEASURED, file_sizes, function_sizes
from tests.structure.source import ROOT

# name -> why it may be larger. Names as in sizes.Size; a complexity exception is named like a function.
FILE_EXCEPTIONS: dict[str, str] = {}
FUNCTION_EXCEPTIONS: dict[str, str] = {}


def test_no_file_exceeds_its_limit() -> None:
    large = {size.name: size.lines for size in file_sizes() if size.lines > FILE_LIMIT}

    assert large.keys() - FILE_EXCEPTIONS.keys() == set(), large


def test_no_function_exceeds_its_limit() -> None:
    large = {size.name: size.lines for size in function_sizes() if size.lines > FUNCTION_LIMIT}

    assert large.keys() - FUNCTION_EXCEPTIONS.keys() == set(), large


def test_every_exception_is_still_needed() -> None:
    large = {size.name for size in file_sizes() if size.lines > FILE_LIMIT}
    large |= {size.name for size in function_sizes() if size.lines > FUNCTION_LIMIT}

    assert (FILE_EXCEPTIONS | FUNCTION_EXCEPTIONS).keys() <= large


def test_no_function_is_too_complex_even_with_a_noqa() -> None:
    folders = [folder for folder in MEASURED if (ROOT / folder).is_dir()]
    command = [sys.executable, "-m", "ruff", "check", "--select", "C901", "--ignore-noqa", "--output-format", "json"]

    done = subprocess.run([*command, *folders], cwd=ROOT, capture_output=True, text=True, check=False)

    assert [f"{found['filename']}: {found['message']}" for found in json.loads(done.stdout)] == []
