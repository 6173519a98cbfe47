"""Serves requests in a fresh process of its own, and prints its start and its memory as one JSON object."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

from crew_moe.catalog.local import load_local
from crew_moe.domain.hosting import CacheSpec
from crew_moe.domain.local_work import Asked
from crew_moe.local_gate.serving import LocalGate
from tests.benchmarks.measure import rss_mib

NOWHERE = Path("no-models-are-here")
AT_ONCE = 50
REMEMBERED = 256
"""Fewer than a half has, so that the cache is full half way."""


async def _serve(gate: LocalGate, first: int, count: int) -> None:
    for start in range(first, first + count, AT_ONCE):
        wave = [_one(gate, number) for number in range(start, start + AT_ONCE)]
        assert all(await asyncio.gather(*wave))


async def _one(gate: LocalGate, number: int) -> bool:
    """Every tenth is read in pieces."""
    asked = Asked(text=f"Request {number} came at noon. The door of room {number} is open. Nobody knows why.")
    if number % 10:
        return (await gate.process(asked)).ok
    pieces = [piece async for piece in gate.stream(asked)]
    return not isinstance(pieces[-1], str) and pieces[-1].ok


def measure(requests: int) -> dict[str, float]:
    """Seconds until the gate is open and tells its health; resident megabytes half way and at the end, and how many
    objects there are more than half way.
    """
    began = time.perf_counter()
    plan = replace(load_local(models=NOWHERE), cache=CacheSpec(results=REMEMBERED))
    gate = LocalGate.open(plan)
    gate.health()
    start_s = time.perf_counter() - began
    half = requests // 2
    asyncio.run(_serve(gate, 0, half))
    gc.collect()
    half_mib, half_objects = rss_mib(), len(gc.get_objects())
    asyncio.run(_serve(gate, half, half))
    gc.collect()
    grown = len(gc.get_objects()) - half_objects
    after_mib = rss_mib()
    gate.close()
    return {"start_s": start_s, "half_mib": half_mib, "after_mib": after_mib, "grown_objects": grown}


if __name__ == "__main__":
    json.dump(measure(int(sys.argv[1])), sys.stdout)
