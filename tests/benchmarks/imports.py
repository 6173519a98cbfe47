"""What an import costs over a bare interpreter, in time and memory."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Final

from tests.benchmarks.figure import Figure

BARE: Final = "bare Python"
STATEMENTS: Final = {
    BARE: "pass",
    "import crew_moe": "import crew_moe",
    "from crew_moe import Router": "from crew_moe import Router",
}
RSS: Final = "; from pathlib import Path; print(Path('/proc/self/statm').read_text().split()[1])"


def imports(*, runs: int) -> Iterator[Figure]:
    """Wall time of fresh interpreters, in turns, medians; RSS of one run each."""
    seen: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for number in range(runs + 1):
        for name, statement in STATEMENTS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True)
            if number:
                seen[name].append((time.perf_counter() - start) * 1e3)
    bare = median(seen[BARE])
    bare_mib = _rss_mib(STATEMENTS[BARE])
    figure = partial(Figure, group=f"import: median of {runs} interpreters, in turns", unit="ms")
    yield figure(name=BARE, value=bare, note=f"{bare_mib:.1f} MiB")
    for name in list(STATEMENTS)[1:]:
        at_most = 50.0 if name == "import crew_moe" else None
        note = f"over bare Python; +{_rss_mib(STATEMENTS[name]) - bare_mib:.1f} MiB"
        yield figure(name=name, value=median(seen[name]) - bare, at_most=at_most, note=note)


def _rss_mib(statement: str) -> float:
    done = subprocess.run([sys.executable, "-c", statement + RSS], check=True, capture_output=True, text=True)
    return int(done.stdout) * 4096 / 2**20
