"""Every benchmark in one run: `python -m tests.benchmarks.bench [--quick] [--json] [--check] [--only NAME ...]`.

Figures with a target say ok or MISS. The exit code is 0 whatever they say, unless `--check` is given.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from rich.console import Console

from tests.benchmarks.batch import batches
from tests.benchmarks.chat import chats
from tests.benchmarks.crew import crew_calls
from tests.benchmarks.figure import Figure
from tests.benchmarks.gate import gates
from tests.benchmarks.imports import imports
from tests.benchmarks.ledger import ledgers
from tests.benchmarks.litellm_peer import PeerError
from tests.benchmarks.mcp import mcp_calls
from tests.benchmarks.memory import memory
from tests.benchmarks.report import show
from tests.benchmarks.service import services
from tests.benchmarks.single import against_litellm, over_registries, over_texts

WIDTH: Final = 150  # where no terminal tells
Suites = Mapping[str, Callable[[], Iterator[Figure]]]


def suites(*, quick: bool, litellm_python: Path | None) -> Suites:
    """What runs under each name; `quick` takes fewer samples of everything."""
    calls, rounds = (200, 3) if quick else (1_000, 9)
    return {
        "litellm": lambda: against_litellm(litellm_python, calls=calls, rounds=rounds),
        "registries": lambda: over_registries(calls=calls, rounds=rounds),
        "texts": lambda: over_texts(calls=calls, rounds=rounds),
        "batch": lambda: batches(rows=10_000, rounds=rounds),
        "memory": lambda: memory(decisions=100_000 if quick else 1_000_000, traced=40_000 if quick else 200_000),
        "imports": lambda: imports(runs=5 if quick else 15),
        "ledger": lambda: ledgers(calls=calls, rounds=rounds),
        "gate": lambda: gates(calls=calls, rounds=rounds),
        "crew": lambda: crew_calls(calls=50 if quick else 200, rounds=rounds),
        "service": lambda: services(
            requests=2_000 if quick else 6_000, rounds=rounds, steady=20_000 if quick else 200_000
        ),
        "mcp": lambda: mcp_calls(calls=150 if quick else 600),
        "chat": lambda: chats(litellm_python, rounds=rounds, seconds=2.0 if quick else 4.0),
    }


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer samples")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--check", action="store_true", help="exit 1 when a target is missed")
    names = list(suites(quick=True, litellm_python=None))
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--litellm-python", type=Path, help="an interpreter that has litellm (default: .venv-litellm)")
    return parser


def main() -> int:
    given = arguments().parse_args()
    progress = Console(stderr=True)
    chosen = suites(quick=given.quick, litellm_python=given.litellm_python)
    figures: list[Figure] = []
    failed = False
    for name in given.only:
        progress.print(f"measuring {name} ...", style="dim")
        try:
            figures += chosen[name]()
        except PeerError as error:
            failed = True
            progress.print(f"{name}: {error}", style="red")
    if given.json:
        json.dump([figure.as_dict() for figure in figures], sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        show(figures, Console(width=None if sys.stdout.isatty() else WIDTH))
    missed = failed or any(figure.ok is False for figure in figures)
    return int(given.check and missed)


if __name__ == "__main__":
    sys.exit(main())
