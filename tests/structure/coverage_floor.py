"""Holds the branch coverage of the deciding core, package by package, from the data of the last test run."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

FLOOR: Final = 95.0
PACKAGES: Final = ("domain", "routing", "strategies", "state")


def branch_coverage(package: str) -> tuple[int, int]:
    """(branches taken, branches there are) of one package."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        command = [sys.executable, "-m", "coverage", "json", "-q", f"--include=crew_moe/{package}/*", "-o", str(report)]
        subprocess.run(command, check=True)
        totals = json.loads(report.read_text(encoding="utf-8"))["totals"]
    return totals["covered_branches"], totals["num_branches"]


def main() -> None:
    low = False
    for package in PACKAGES:
        covered, branches = branch_coverage(package)
        percent = 100 * covered / branches if branches else 100.0
        low |= percent < FLOOR
        sys.stdout.write(
            f"branch coverage of crew_moe/{package}: {percent:.1f} % of {branches} (floor {FLOOR:.0f} %)\n"
        )
    sys.exit(int(low))


if __name__ == "__main__":
    main()
