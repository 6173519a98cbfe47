"""Every benchmark in one run: `python -m tests.benchmarks.bench [--quick] [--json] [--check] [--only NAME ...]`.

Figures with a target say ok or MISS. The exit code is 0 whatever they say, unless `--check` is given.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.benchmarks.bandits import bandit_rounds
from tests.benchmarks.batch import batches
from tests.benchmarks.chat import chats
from tests.benchmarks.crew import crew_calls
from tests.benchmarks.gate import gates
from tests.benchmarks.imports import imports
from tests.benchmarks.ledger import ledgers
from tests.benchmarks.mcp import mcp_calls
from tests.benchmarks.memory import memory
from tests.benchmarks.program import Suites, arguments, run
from tests.benchmarks.service import services
from tests.benchmarks.single import against_litellm, over_registries, over_texts


def suites(*, quick: bool, litellm_python: Path | None) -> Suites:
    """What runs under each name; `quick` takes fewer samples of everything."""
    calls, rounds = (200, 3) if quick else (1_000, 9)
    return {
        "litellm": lambda: against_litellm(litellm_python, calls=calls, rounds=rounds),
        "registries": lambda: over_registries(calls=calls, rounds=rounds),
        "texts": lambda: over_texts(calls=calls, rounds=rounds),
        "batch": lambda: batches(rows=10_000, rounds=rounds),
        "bandits": lambda: bandit_rounds(calls=calls, rounds=rounds),
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


def main() -> int:
    parser = arguments("bench", __doc__, suites(quick=True, litellm_python=None))
    parser.add_argument("--litellm-python", type=Path, help="an interpreter that has litellm (default: .venv-litellm)")
    given = parser.parse_args()
    return run(given, suites(quick=given.quick, litellm_python=given.litellm_python))


if __name__ == "__main__":
    sys.exit(main())
