"""Whatever goes wrong with one request has a typed answer, and the next request is served."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import httpx
import pytest

from crew_moe.domain.hosting import HostKind
from crew_moe.local_gate.serving import LocalGate
from tests.local_gate.engine_hosts import FixedGate, Upper, plan, spec
from tests.service.local.serving import Local, serving

SECRET: Final = "hunter2"
JSON: Final = {"content-type": "application/json"}


def raising(error: Exception) -> Callable[[Sequence[str]], object]:
    def act(texts: Sequence[str]) -> object:
        if "fine" in texts:
            return None
        raise error

    return act


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """Hosts that break, one whose weights are nowhere, and one that is well."""
    hosts = {
        "well": Upper("well"),
        "broken": Upper("broken", act=raising(RuntimeError(f"the password is {SECRET}"))),
        "full": Upper("full", act=raising(MemoryError())),
    }
    nowhere = spec("nowhere", kind=HostKind.BYT5, path=tmp_path_factory.mktemp("models") / "none")
    over = plan(*hosts, "nowhere")
    made = type(over)(hosts={**over.hosts, "nowhere": nowhere})
    with serving(LocalGate.open(made, hosts=hosts, gate=FixedGate(list(made.hosts)))) as found:
        yield found


def body(**fields: Any) -> dict[str, Any]:
    return {"content": json.dumps({"text": SECRET, "expert": "well", **fields}).encode()}


FAULTS: Final[dict[str, tuple[dict[str, Any], int, set[str]]]] = {
    "10 MB": (body(text="x" * 10_000_000), 413, {"too_large"}),
    "10 MB in chunks": ({"content": iter([b"x" * 1_000_000] * 10)}, 413, {"too_large"}),
    "long text": (body(text="x" * 20_000), 413, {"input_too_long"}),
    "no text": (body(text=" \n"), 422, {"invalid_input"}),
    "NUL": (body(text=f"{SECRET}\0"), 422, {"invalid_input"}),
    "half a surrogate pair": ({"content": b'{"text": "\\ud800"}'}, 422, {"invalid_request"}),
    "UTF-16": ({"content": json.dumps({"text": SECRET}).encode("utf-16")}, 422, {"invalid_request"}),
    "Latin-1": ({"content": '{"text": "Grüße"}'.encode("latin-1")}, 422, {"invalid_request"}),
    "no JSON": ({"content": b"{'text': 1}"}, 422, {"invalid_request"}),
    "no body": ({"content": b""}, 422, {"invalid_request"}),
    "unknown field": (body(txet=SECRET), 422, {"invalid_request"}),
    "unknown task": (body(task="translate"), 422, {"invalid_request"}),
    "unknown expert": (body(expert="wel"), 404, {"unknown_expert"}),
    "missing weights": (body(expert="nowhere"), 503, {"missing_weights", "missing_extra"}),
    "out of memory": (body(expert="full"), 503, {"out_of_memory"}),
    "a model that raises": (body(expert="broken"), 502, {"model_failed"}),
    "no time": (body(timeout_ms=0), 422, {"invalid_request"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_and_the_next_request_is_served(faulty: Local, fault: str) -> None:
    request, status, codes = FAULTS[fault]

    told = faulty.client.post("/process/sync", headers=JSON, **request)

    assert (told.status_code, told.json()["code"] in codes) == (status, True), told.text[:500]
    assert SECRET not in told.text
    assert told.json()["request_id"]

    again = faulty.process(f"fine after {fault}", expert="well")  # a text of its own: what is remembered proves nothing

    assert (again.status_code, again.json()["result"]) == (200, f"FINE AFTER {fault.upper()}")
    assert faulty.client.get("/health").json()["status"] == "healthy"


def test_a_host_that_broke_once_answers_the_next_request(faulty: Local) -> None:
    assert faulty.process("x", expert="broken").status_code == 502

    assert faulty.process("fine", expert="broken").json()["result"] == "FINE"


def test_the_gate_passes_by_what_can_t_serve(faulty: Local) -> None:
    row = faulty.process("anything").json()

    assert row["expert_used"] == "well"


def test_a_path_that_there_is_not_is_a_problem_too(faulty: Local) -> None:
    told: httpx.Response = faulty.client.get("/proces")

    assert (told.status_code, told.json()["code"]) == (404, "not_found")
