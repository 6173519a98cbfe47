"""Several processes that answer as one: what each has counted adds up, whoever is asked."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.structure.source import ROOT

Process = subprocess.Popen[str]


@contextmanager
def counting(folder: Path, decisions: int) -> Iterator[Process]:
    command = [sys.executable, "-m", "tests.telemetry.counting_child", str(decisions)]
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        yield child
        assert child.stdin is not None
        child.stdin.close()


def _lines(child: Process, last: str) -> list[str]:
    assert child.stdout is not None
    return list(iter(lambda: child.stdout.readline().rstrip("\n"), last))  # type: ignore[union-attr]


def shown(child: Process) -> dict[str, float]:
    """The sum of each metric's samples, as this process answers for all."""
    assert child.stdin is not None
    child.stdin.write("show\n")
    child.stdin.flush()
    families = text_string_to_metric_families("\n".join(_lines(child, "done")))
    totals: dict[str, float] = {}
    for sample in (sample for family in families for sample in family.samples):
        totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
    return totals


def test_counts_add_up_and_the_dead_keep_theirs(tmp_path: Path) -> None:
    names = ("moe_routing_total", "moe_expert_usage", "moe_routing_latency_ms_count", "crew_moe_http_in_flight")
    with ExitStack() as stack:
        one = stack.enter_context(counting(tmp_path, 3))
        with counting(tmp_path, 4) as other:
            for child in (one, other):
                _lines(child, "counted")
            seen = [shown(child) for child in (one, other)]
        after = shown(one)

    assert [[told[name] for name in names] for told in seen] == [[7, 7, 7, 2]] * 2
    assert [after[name] for name in names] == [7, 7, 7, 1]
    assert after["moe_load_balance_score"] == pytest.approx(seen[0]["moe_load_balance_score"])
