"""decide_batch(): decisions per second and core, every call on requests that no earlier call has seen."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from statistics import median

from tests.benchmarks.figure import Figure
from tests.benchmarks.material import requests_of, router_of
from tests.benchmarks.measure import cpu_s


def batches(*, rows: int, rounds: int) -> Iterator[Figure]:
    """`rows` validated requests at a time over 18 experts; texts of 0, 200 and 2,000 characters."""
    router = router_of(18)
    figure = partial(Figure, group=f"decide_batch(): {rows:,} validated requests, 18 experts", unit="/s")
    for chars, at_least in ((0, None), (200, 300_000.0), (2_000, None)):
        rates = []
        for number in range(rounds + 1):
            requests = requests_of(rows, chars, first=number * rows)
            rates.append(rows / cpu_s(partial(router.decide_batch, requests)))
        note = "per core; every batch of new requests"
        yield figure(name=f"{chars:,} characters", value=median(rates[1:]), at_least=at_least, note=note)
