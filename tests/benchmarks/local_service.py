"""What the local gate's service takes to start, and what HTTP adds to the engine's answer."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Final

from crew_moe.catalog.local import load_local
from crew_moe.domain.local_work import Asked
from crew_moe.local_gate.serving import LocalGate
from tests.benchmarks.figure import Figure
from tests.service.local.serving import serving

WORKER: Final = "tests.benchmarks.local_service_worker"
EXPERT: Final = "extractive"


def local_service(*, starts: int, requests: int) -> Iterator[Figure]:
    """Cold starts in fresh processes; requests one after the other, over HTTP and by the engine, in turns."""
    figure = partial(Figure, group="local gate: service")
    seen = [_start_s() for _ in range(starts)]
    note = f"after its imports, to the first answer over HTTP; no model loaded; median of {starts} fresh processes"
    yield figure(name="cold start", value=median(seen), unit="s", at_most=1.0, note=note)
    here, there = _answers(requests)
    note = f"{requests} texts one after the other, extractive, no two alike"
    yield figure(name="the engine's answer", value=here * 1e3, unit="ms", note=note)
    yield figure(
        name="  over POST /process/sync", value=there * 1e3, unit="ms", note="the same, by a client that stays"
    )


def _start_s() -> float:
    done = subprocess.run([sys.executable, "-m", WORKER], check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout)["start_s"])


def _answers(requests: int) -> tuple[float, float]:
    """Median seconds of the engine's own answers, and of those over HTTP."""
    with serving(LocalGate.open(load_local())) as local:
        here, there = [], []
        for number in range(requests):
            text = f"Request {number} came at noon. The door of room {number} is open. Nobody knows why."
            began = time.perf_counter()
            assert asyncio.run(local.engine.process(Asked(text=text, expert=EXPERT))).ok
            between = time.perf_counter()
            assert local.process(f"{text} Again.", expert=EXPERT).status_code == 200
            here.append(between - began)
            there.append(time.perf_counter() - between)
    return median(here), median(there)
