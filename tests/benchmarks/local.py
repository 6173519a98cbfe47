"""The local gate, measured: `python -m tests.benchmarks.local [--quick] [--json] [--check] [--only NAME ...]`.

Figures with a target say ok or MISS. The exit code is 0 whatever they say, unless `--check` is given. Those of the
layer over all cores mean nothing while other processes keep them busy.
"""

from __future__ import annotations

import sys

from tests.benchmarks.local_gate import gate_costs, gate_quality
from tests.benchmarks.local_hosts import host_times
from tests.benchmarks.local_layer import layers
from tests.benchmarks.local_service import local_service
from tests.benchmarks.local_serving import local_serving
from tests.benchmarks.program import Suites, arguments, run


def suites(*, quick: bool) -> Suites:
    """What runs under each name; `quick` takes fewer samples of everything."""
    rounds, requests = (3, 2_000) if quick else (9, 10_000)
    return {
        "gate": lambda: gate_costs(calls=200 if quick else 1_000, rounds=rounds),
        "quality": gate_quality,
        "hosts": lambda: host_times(rounds=2 if quick else 3),
        "serving": lambda: local_serving(rounds=rounds, hits=requests // 10, requests=requests),
        "service": lambda: local_service(starts=3 if quick else 5, requests=200 if quick else 1_000),
        "layer": lambda: layers(rounds=rounds),
    }


def main() -> int:
    given = arguments("bench-local", __doc__, suites(quick=True)).parse_args()
    return run(given, suites(quick=given.quick))


if __name__ == "__main__":
    sys.exit(main())
