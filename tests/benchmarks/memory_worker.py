"""Decides in a fresh process that holds nothing else, and prints what memory that took as one JSON object."""

from __future__ import annotations

import gc
import json
import sys
import tracemalloc

from crew_moe import Router, RoutingRequest
from tests.benchmarks.material import fields_of, unseen_fields_of
from tests.benchmarks.measure import rss_mib

CHARS = 200
UNSEEN_EVERY = 20  # one request in so many has needs that no other had


def measure(decisions: int, *, trace: bool) -> dict[str, float]:
    """Resident megabytes when the router is ready, half way and at the end; growth of objects since half way, in kB.

    The memo of what needs allow is full or empty at any moment, so traced objects are those of known needs.
    """
    router = Router.from_config(state=":memory:")
    ready_mib = rss_mib()
    if trace:
        tracemalloc.start()

    def run(first: int, count: int) -> None:
        for number in range(first, first + count):
            fields = (fields_of if trace or number % UNSEEN_EVERY else unseen_fields_of)(CHARS, number)
            router.decide(RoutingRequest(**fields))

    half = decisions // 2
    run(0, decisions - half)
    gc.collect()
    half_mib, half_bytes = rss_mib(), tracemalloc.get_traced_memory()[0]
    run(decisions - half, half)
    gc.collect()
    grown_kb = (tracemalloc.get_traced_memory()[0] - half_bytes) / 1e3
    return {"ready_mib": ready_mib, "half_mib": half_mib, "after_mib": rss_mib(), "grown_kb": grown_kb}


if __name__ == "__main__":
    json.dump(measure(int(sys.argv[1]), trace="--trace" in sys.argv), sys.stdout)
