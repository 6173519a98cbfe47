"""The mixture-of-experts layer beside a dense layer of as many operations, transformers' block, and the memory's floor.

`python -m tests.benchmarks.local_layer [--quick] [--json] [--check]` measures it alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

from tests.benchmarks.figure import Figure
from tests.benchmarks.program import arguments, run

WORKER: Final = "tests.benchmarks.local_layer_worker"
STILL: Final = {  # freed memory is kept: to fetch it anew from the system costs each contender as luck has it
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**28),
}
NOISE: Final = 1.03
DENSE: Final = {  # at most so many times the dense layer of as many operations
    "E8 k2": 1.25,
    "E64 k8": 1.35,
    "90 % to one": 1.3,
    "all to one": 1.3,
    "backward E8 k2": 1.3,
    "backward E64 k8": 1.3,
}
CORES: Final = {"one": "one core, CPU time", "all": "all cores, wall time"}
Medians = Mapping[str, Mapping[str, float]]


def layers(*, rounds: int) -> Iterator[Figure]:
    """Ratios of medians over `rounds` interleaved rounds, on one core and on all, in a process of their own each."""
    for cores, told in CORES.items():
        command = [sys.executable, "-m", WORKER, str(rounds), cores]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | STILL)
        seen: Medians = json.loads(done.stdout)
        yield from _beside_dense(seen, told)
        yield from _beside_transformers(seen, told)
        yield from _small(seen, told)


def _beside_dense(seen: Medians, told: str) -> Iterator[Figure]:
    group = f"MoE layer / dense layer of as many operations, T4096 d512 ({told})"
    for name, at_most in DENSE.items():
        ours, dense = seen[name]["ours"], seen[name]["dense"]
        note = f"{ours / 1e3:.0f} ms; the dense one has no activation"
        yield Figure(group=group, name=name, value=ours / dense, unit="x", at_most=at_most, note=note)


def _beside_transformers(seen: Medians, told: str) -> Iterator[Figure]:
    figure = partial(Figure, group=f"MoE layer / transformers' Mixtral block, T4096 d512 E8 k2 ({told})", unit="x")
    ours, *others = seen["transformers"].values()
    best = min(others)
    note = f"{ours / 1e3:.0f} ms; 1 and 3 % for noise"
    yield figure(name="its fastest implementation", value=ours / best, at_most=NOISE, note=note)
    yield figure(name="its loop over experts", value=ours / seen["transformers"]["eager"])


def _small(seen: Medians, told: str) -> Iterator[Figure]:
    figure = partial(Figure, group=f"MoE layer on a few tokens, d1024 E8 k2, experts of 32 MiB ({told})", unit="x")
    for name, medians in seen.items():
        if "few" in medians:
            note = f"{medians['few'] / 1e3:.1f} ms; the way of large batches is 1, 3 % for noise"
            value = medians["few"] / medians["grouped"]
            yield figure(name=f"{name}: beside large batches' way", value=value, at_most=NOISE, note=note)
            note = "one pass over the active experts' weights is 1"
            yield figure(name=f"{name}: beside the memory's floor", value=medians["few"] / medians["floor"], note=note)


if __name__ == "__main__":
    given = arguments("local_layer", __doc__, ["layer"]).parse_args()
    sys.exit(run(given, {"layer": partial(layers, rounds=3 if given.quick else 9)}))
