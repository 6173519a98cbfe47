"""A Ray cluster of two nodes on loopback, and hosts that tell on paper what they do there."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import ray
from ray.cluster_utils import Cluster

from crew_moe.domain.hosting import HostSpec
from crew_moe.domain.local_work import Made, Work
from crew_moe.errors import HostFailed
from tests.local_gate.engine_hosts import Upper
from tests.local_gate.ray_notes import HEAD, SECOND

ROOT: Final = Path(__file__).resolve().parents[2]
NODE: Final[dict[str, Any]] = {"object_store_memory": 80 * 1024 * 1024, "include_dashboard": False}
# A node that is gone is seen to be in 2 s, and not in 15.
QUICK: Final = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 4,
}


class OnRay(Upper):
    """Made by its spec, as the hosts of a plan are."""

    name = version = ""
    concurrent = 1

    def __init__(self, spec: HostSpec) -> None:
        super().__init__(spec.name)


class OnPaper(OnRay):
    """Takes its time over each batch, and notes where a text is begun and done. The file's name is its option."""

    def __init__(self, spec: HostSpec) -> None:
        super().__init__(spec)
        self.paper = Path(spec.options["paper"])

    def process(self, works: Sequence[Work]) -> Sequence[Made | HostFailed]:
        self.note("began", works)
        threading.Event().wait(0.4)
        made = super().process(works)
        self.note("done", works)
        return made

    def note(self, what: str, works: Sequence[Work]) -> None:
        at = ray.util.get_node_ip_address()
        with self.paper.open("a", encoding="utf-8") as paper:
            paper.write("".join(f"{what} {at} {os.getpid()} {work.text}\n" for work in works))


@contextmanager
def two_nodes() -> Iterator[Cluster]:
    """The cluster, with this process connected to it, until the block ends. Its files are its own."""
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # a socket's path must be short
    (folder / "ray").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", str(folder))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        cluster = Cluster(
            True, head_node_args={"num_cpus": 4, "node_ip_address": HEAD, "_system_config": QUICK, **NODE}
        )
        try:
            add_second(cluster)
            ray.init(cluster.address, log_to_driver=False, _node_ip_address=HEAD, logging_level="ERROR")
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def add_second(cluster: Cluster) -> Any:
    return cluster.add_node(num_cpus=2, node_ip_address=SECOND, **NODE)
