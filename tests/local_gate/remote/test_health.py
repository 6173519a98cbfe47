"""How servers elsewhere are, by what each kind of them tells."""

from __future__ import annotations

import socket

import pytest

from crew_moe.domain.hosting import HostKind, HostSpec
from crew_moe.domain.local_work import Loaded, Trouble
from crew_moe.errors import HostFailed
from crew_moe.local_gate.remote import open_remote
from tests.local_gate.remote.servers import ROUTES, Played, playing

KINDS = sorted(ROUTES)
QUEUED = [HostKind.VLLM, HostKind.SGLANG, HostKind.LLAMACPP, HostKind.TGI]
METRICS = "/metrics"


def spec(played: Played, model: str | None = "tiny") -> HostSpec:
    return HostSpec(name="far", kind=played.kind, base_url=played.url, model=model)


@pytest.mark.parametrize("kind", KINDS)
def test_host_is_cold_until_it_is_loaded_and_tells_what_is_in_memory(kind: HostKind) -> None:
    with playing(kind, loaded={"tiny"}) as played:
        host = open_remote(spec(played))
        cold = host.health()
        host.load()
        ready = host.health()

    assert (cold.state, cold.models, cold.trouble) == (Loaded.COLD, ("tiny",), None)
    assert (ready.state, ready.models, ready.version) == (Loaded.READY, ("tiny",), host.version)


@pytest.mark.parametrize("kind", KINDS)
def test_queue_is_what_the_kind_tells(kind: HostKind) -> None:
    with playing(kind, queue="7") as played:
        health = open_remote(spec(played)).health()

    assert health.queue == (7 if kind in QUEUED else None)


@pytest.mark.parametrize("kind", QUEUED)
@pytest.mark.parametrize("told", [{"metrics": False}, {"queue": "NaN"}, {"queue": "seven"}])
def test_a_queue_that_is_not_told_is_unknown(kind: HostKind, told: dict[str, object]) -> None:
    with playing(kind, **told) as played:
        health = open_remote(spec(played)).health()

    assert (health.trouble, health.queue) == (None, None)


def test_router_is_never_asked_for_metrics_which_would_load_a_model() -> None:
    with playing(HostKind.LLAMACPP, models=["tiny", "large"], router=True) as played:
        host = open_remote(spec(played))
        host.load()
        health = host.health()

    assert (health.state, health.queue, played.loaded, played.asked(METRICS)) == (Loaded.COLD, None, set(), [])


def test_llamacpp_of_many_models_is_a_router_whatever_it_tells() -> None:
    with playing(HostKind.LLAMACPP, models=["tiny", "large"]) as played:
        open_remote(spec(played)).health()

    assert played.asked(METRICS) == []


def test_ollama_tells_what_is_in_memory() -> None:
    with playing(HostKind.OLLAMA, models=["tiny:latest", "other:1b"], loaded={"other:1b"}) as played:
        host = open_remote(spec(played))
        host.load()
        health = host.health()

    assert (health.state, health.models) == (Loaded.COLD, ("other:1b",))


def test_llamacpp_that_loads_is_loading() -> None:
    with playing(HostKind.LLAMACPP) as played:
        played.faults["/health"] = (503, b'{"error":{"code":503,"message":"Loading model"}}', {})
        host = open_remote(spec(played))
        health = host.health()

        with pytest.raises(HostFailed, match="is loading its model"):
            host.load()

    assert health.state is Loaded.LOADING


@pytest.mark.parametrize(("status", "told"), [(503, "is up, and not well"), (404, "has nothing at this address")])
@pytest.mark.parametrize("kind", [HostKind.VLLM, HostKind.SGLANG, HostKind.TGI])
def test_server_that_is_not_well_is_unavailable(kind: HostKind, status: int, told: str) -> None:
    with playing(kind) as played:
        played.faults["/health"] = (status, b"", {})
        health = open_remote(spec(played)).health()

    assert (health.state, health.trouble) == (Loaded.FAILED, Trouble.UNAVAILABLE)
    assert told in health.what


@pytest.mark.parametrize("kind", KINDS)
def test_server_that_is_not_there_is_unavailable(kind: HostKind) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    health = open_remote(HostSpec(name="far", kind=kind, base_url=f"http://127.0.0.1:{port}", model="tiny")).health()

    assert (health.state, health.trouble) == (Loaded.FAILED, Trouble.UNAVAILABLE)
    assert f"http://127.0.0.1:{port}" in health.what


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"data": [1], "models": {}}', b'{"data":[{"id":7}]}', b"\xff" * 9]
)
def test_nonsense_is_told_and_not_raised(kind: HostKind, body: bytes) -> None:
    with playing(kind) as played:
        played.faults |= {path: (200, body, {}) for path in ROUTES[kind]}
        health = open_remote(spec(played)).health()

    assert health.state is Loaded.FAILED
    assert health.trouble in {Trouble.MODEL_FAILED, Trouble.MISSING_WEIGHTS}


@pytest.mark.parametrize("base_url", ["", "tiny", "ftp://127.0.0.1", "http://"])
def test_address_that_is_none_is_told(base_url: str) -> None:
    health = open_remote(HostSpec(name="far", kind=HostKind.VLLM, base_url=base_url, model="tiny")).health()

    assert (health.state, health.trouble) == (Loaded.FAILED, Trouble.UNAVAILABLE)


def test_password_in_the_address_is_not_shown() -> None:
    spec = HostSpec(name="far", kind=HostKind.VLLM, base_url="http://me:hidden@127.0.0.1:1/v1", model="tiny")
    health = open_remote(spec).health()

    assert (health.device, "hidden" in repr(health)) == ("http://127.0.0.1:1", False)
