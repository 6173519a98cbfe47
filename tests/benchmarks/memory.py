"""Memory over many decisions, seen from outside a fresh process and from inside its interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from typing import Final

from tests.benchmarks.figure import Figure

WORKER: Final = "tests.benchmarks.memory_worker"
ANCHOR: Final = """
import numpy, pydantic, structlog, yaml
from tests.benchmarks.measure import rss_mib
print(rss_mib())
"""


def memory(*, decisions: int, traced: int) -> Iterator[Figure]:
    """RSS around `decisions` decisions with the log in memory; growth that tracemalloc sees over `traced`."""
    anchor = float(_fresh("-c", ANCHOR))
    plain = json.loads(_fresh("-m", WORKER, str(decisions)))
    seen = json.loads(_fresh("-m", WORKER, str(traced), "--trace"))
    figure = partial(Figure, group=f"memory: state and log in memory, {decisions:,} decisions")
    growth = plain["after_mib"] - plain["half_mib"]
    yield figure(name="numpy, pydantic, structlog and yaml alone", value=anchor, unit="MiB", note="RSS")
    yield figure(name="router ready", value=plain["ready_mib"], unit="MiB", note="RSS")
    yield figure(name="after them", value=plain["after_mib"], unit="MiB", at_most=60.0, note="RSS")
    yield figure(name="  growth", value=growth, unit="MiB", at_most=1.0, note="RSS, second half of them")
    note = f"Python objects, second half of {traced:,} decisions"
    yield figure(name="  growth of objects", value=seen["grown_kb"], unit="kB", at_most=64.0, note=note)


def _fresh(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True)
    return done.stdout
