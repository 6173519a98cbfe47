"""What every benchmark program does: measures the suites that were chosen, shows their figures, gives an exit code."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from rich.console import Console

from tests.benchmarks.figure import Figure
from tests.benchmarks.litellm_peer import PeerError
from tests.benchmarks.report import show

WIDTH: Final = 150  # where no terminal tells
Suites = Mapping[str, Callable[[], Iterator[Figure]]]


def arguments(prog: str, doc: str | None, names: Iterable[str]) -> argparse.ArgumentParser:
    """The flags that all of them have; `names` are those of the suites."""
    every = list(names)
    parser = argparse.ArgumentParser(prog=prog, description=doc)
    parser.add_argument("--quick", action="store_true", help="fewer samples")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--check", action="store_true", help="exit 1 when a target is missed")
    parser.add_argument("--only", nargs="+", choices=every, default=every, metavar="NAME", help=", ".join(every))
    return parser


def run(given: argparse.Namespace, chosen: Suites) -> int:
    """Measure and show. The exit code is 0 whatever the figures say, unless `--check` is given."""
    progress = Console(stderr=True)
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
