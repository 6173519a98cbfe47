"""The local gate's service with its experts on a Ray cluster of two nodes: the same tests, and a node that is lost."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from crew_moe.domain.hosting import BatchSpec, HostKind, HostSpec, LocalPlan
from crew_moe.domain.local_work import Asked, Processed
from crew_moe.local_gate.ray_options import RayOptions
from crew_moe.local_gate.serving import LocalGate
from tests.local_gate.engine_hosts import FixedGate
from tests.local_gate.ray_notes import SECOND, Note, read
from tests.service.local.serving import Local, serving
from tests.service.local.test_processing import (
    test_a_job_is_begun_and_its_answer_fetched,
    test_a_job_that_fails_tells_why,
    test_a_job_that_is_over_is_forgotten_when_it_is_dropped,
    test_a_wrong_expert_is_told_before_a_job_begins,
    test_an_answer_has_the_shape_of_the_seed,
    test_an_embedding_is_a_list_of_numbers,
    test_an_expert_may_be_named,
)
from tests.waiting import until

__all__ = [
    "test_a_job_is_begun_and_its_answer_fetched",
    "test_a_job_that_fails_tells_why",
    "test_a_job_that_is_over_is_forgotten_when_it_is_dropped",
    "test_a_wrong_expert_is_told_before_a_job_begins",
    "test_an_answer_has_the_shape_of_the_seed",
    "test_an_embedding_is_a_list_of_numbers",
    "test_an_expert_may_be_named",
]

pytestmark = pytest.mark.accept

REQUESTS = 80
AT_ONCE = 24


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    pytest.importorskip("ray", reason="ray is not installed")
    from tests.local_gate.ray_cluster import two_nodes

    with two_nodes() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("paper") / "notes.txt"


@pytest.fixture(scope="module")
def local(cluster: Any, paper: Path) -> Iterator[Local]:  # noqa: ARG001 - it has to run
    """As the tests of one process have it, with a slow third expert."""
    from crew_moe.local_gate.ray_serving import on_ray

    plan = LocalPlan(
        hosts={
            "upper": spec("upper", "OnRay"),
            "second": spec("second", "OnRay"),
            "slow": spec("slow", "OnPaper", paper),
        },
        batch=BatchSpec(max_size=4),
    )
    with on_ray(plan, RayOptions(fewest=2, most=2, ongoing=8, cpus=2.0)) as pool:
        engine = LocalGate(plan, pool=pool, gate=FixedGate(list(plan.hosts)))
        with serving(engine) as local:
            yield local


def spec(name: str, made_by: str, paper: Path | None = None) -> HostSpec:
    return HostSpec(
        name=name,
        kind=HostKind.PYTHON,
        class_path=f"tests.local_gate.ray_cluster:{made_by}",
        options={} if paper is None else {"paper": str(paper)},
    )


def running() -> int:
    """How many replicas answer."""
    from ray import serve

    from crew_moe.local_gate.ray_serving import APP

    return int(serve.status().applications[APP].deployments["experts"].replica_states.get("RUNNING", 0))


def half_done_on_the_second(paper: Path) -> bool:
    """Whether that node has begun more than it has done."""
    here = [note.what for note in read(paper) if note.node == SECOND]
    return here.count("began") > here.count("done") > 0


def test_models_are_loaded_anew_in_every_replica(local: Local) -> None:
    answer = local.client.post("/admin/reload-models", json={"experts": ["upper"]})

    assert answer.status_code == 200, answer.text
    assert local.process("still here", expert="upper").json()["result"] == "STILL HERE"


def test_health_tells_of_the_experts_in_the_replicas(local: Local) -> None:
    local.process("load it", expert="second")

    assert local.client.get("/health").json()["experts"]["second"]["state"] == "ready"


async def test_stream_comes_in_pieces_from_a_replica(local: Local) -> None:
    *pieces, whole = [piece async for piece in local.engine.stream(Asked(text="ab c", expert="upper"))]

    assert pieces == ["A", "B", " ", "C"]
    assert isinstance(whole, Processed)
    assert whole.result == "AB C"


@pytest.mark.usefixtures("local")
def test_call_that_comes_again_has_the_answer_that_it_had(paper: Path) -> None:
    from ray import serve

    from crew_moe.local_gate.ray_serving import APP

    replicas = serve.get_app_handle(APP)
    asked = Asked(text="only once", expert="slow")
    first, again = (replicas.broadcast("answer", "call 1", asked).results(timeout_s=30) for _ in range(2))

    assert [one.result for one in first] == ["ONLY ONCE"] * len(first)
    assert sorted(map(repr, first)) == sorted(map(repr, again))
    assert [note.text for note in read(paper) if note.what == "done"].count("only once") == len(first)


def test_a_lost_node_loses_no_request_and_none_is_answered_twice(local: Local, cluster: Any, paper: Path) -> None:
    texts = [f"request {number}" for number in range(REQUESTS)]
    (second,) = cluster.worker_nodes
    with ThreadPoolExecutor(AT_ONCE) as clients:
        asked = [clients.submit(local.process, text, expert="slow") for text in texts]
        until(lambda: half_done_on_the_second(paper))
        for process in {note.process for note in read(paper) if note.node == SECOND}:
            os.kill(int(process), signal.SIGKILL)  # Ray's own test kit would let it end its batch
        cluster.remove_node(second, allow_graceful=False)
        answers = [one.result() for one in asked]
    notes = read(paper)

    assert [answer.json().get("result") for answer in answers] == [text.upper() for text in texts]
    assert lost_in(notes), "nothing was under way on the node that was lost"
    assert Counter(note.text for note in notes if note.what == "began").most_common(1)[0][1] == 2
    assert max(Counter(note.text for note in notes if note.what == "done" and note.node != SECOND).values()) == 1
    until(lambda: running() == 2, within_s=60.0)


def lost_in(notes: list[Note]) -> set[str]:
    """What was begun on the lost node and not done there."""
    began, done = (
        {note.text for note in notes if (note.what, note.node) == (what, SECOND)} for what in ("began", "done")
    )
    return began - done
