"""How the local gate's service tells of its health, and takes new models."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from crew_moe.domain.hosting import HostKind, HostSpec, LocalPlan
from crew_moe.domain.local_work import HostHealth, Trouble
from crew_moe.errors import HostFailed
from crew_moe.local_gate.remote import open_remote
from crew_moe.local_gate.serving import LocalGate
from tests.local_gate.engine_hosts import PATIENCE_S, FixedGate, Upper
from tests.local_gate.remote.servers import playing
from tests.service.local.serving import Local, engine_of, serving

SEEDS_FIELDS = ("status", "models_loaded", "cuda_available", "device")


class Changing(Upper):
    """Its weights may be taken away."""

    def __init__(self, name: str = "upper") -> None:
        super().__init__(name)
        self.gone = False

    def load(self) -> None:
        if self.gone:
            raise HostFailed(Trouble.MISSING_WEIGHTS, "there is no such folder", next_steps=("train it",))
        super().load()


@pytest.fixture
def host() -> Changing:
    return Changing()


@pytest.fixture
def local(host: Changing) -> Iterator[Local]:
    with serving(engine_of(host, Upper("second"))) as found:
        yield found


def test_health_has_the_four_fields_of_the_seed_at_the_top(local: Local) -> None:
    row = local.client.get("/health").json()

    assert tuple(row)[:4] == SEEDS_FIELDS
    assert [row[name] for name in SEEDS_FIELDS] == ["healthy", False, False, "cpu"]
    assert row["experts"]["upper"]["state"] == "cold"
    assert set(row["gate"]) >= {"entropy", "utilisation"}


def test_a_model_is_loaded_by_the_first_request(local: Local) -> None:
    local.process("x")

    row = local.client.get("/health").json()
    assert (row["models_loaded"], row["experts"]["upper"]["version"]) == (True, "v1")


def test_models_are_loaded_anew_and_others_stay(local: Local) -> None:
    local.process("x", expert="upper")
    local.process("x", expert="second")

    done = local.client.post("/admin/reload-models", json={"experts": ["upper"]}).json()

    assert done == {"reloaded": ["upper"], "failed": {}}
    versions = {name: one["version"] for name, one in local.client.get("/health").json()["experts"].items()}
    assert versions == {"upper": "v2", "second": "v1"}


def test_without_names_all_are_loaded(local: Local) -> None:
    assert local.client.post("/admin/reload-models").json()["reloaded"] == ["upper", "second"]


def test_what_can_t_be_loaded_keeps_the_old_model(local: Local, host: Changing) -> None:
    local.process("x", expert="upper")
    host.gone = True

    done = local.client.post("/admin/reload-models", json={"experts": ["upper"]}).json()

    assert done["reloaded"] == []
    assert (done["failed"]["upper"]["code"], done["failed"]["upper"]["suggestions"]) == (
        "missing_weights",
        ["train it"],
    )
    assert local.process("another text", expert="upper").json()["result"] == "ANOTHER TEXT"


def test_a_name_that_there_is_not_is_told_with_the_closest(local: Local) -> None:
    told = local.client.post("/admin/reload-models", json={"experts": ["uper"]}).json()

    assert (told["status"], told["code"], told["closest"]) == (404, "unknown_expert", "upper")


def test_where_nobody_can_serve_it_is_unhealthy() -> None:
    host = Changing()
    host.gone = True
    with serving(engine_of(host)) as local:
        assert local.process("x").json()["code"] == "missing_weights"
        answer = local.client.get("/health")

    assert (answer.status_code, answer.json()["status"]) == (503, "unhealthy")
    assert answer.json()["experts"]["upper"]["trouble"] == "missing_weights"


def test_the_address_of_a_server_is_told_to_nobody() -> None:
    with playing(HostKind.OLLAMA) as played:
        played.loaded.add("tiny")
        spec = HostSpec(name="far", kind=played.kind, base_url=played.url, model="tiny")
        plan = LocalPlan(hosts={"far": spec})
        engine = LocalGate.open(plan, hosts={"far": open_remote(spec)}, gate=FixedGate(["far"]))
        with serving(engine) as local:
            local.process("hello")
            told = local.client.get("/health")

    assert (told.json()["device"], told.json()["experts"]["far"]["device"]) == ("cpu", "server")
    assert told.json()["experts"]["far"]["version"]
    assert str(played.port) not in told.text


class Slow(Upper):
    """Its health takes until it may go on; remembers how many asked at once."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = self.most = 0
        self.began, self.go = Event(), Event()

    def health(self) -> HostHealth:
        self.looks += 1
        self.most = max(self.most, self.looks)
        self.began.set()
        assert self.go.wait(PATIENCE_S)
        self.looks -= 1
        return super().health()


def test_many_who_ask_for_health_at_once_have_one_look_taken() -> None:
    slow = Slow()
    with serving(engine_of(slow)) as local, ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(local.client.get, "/health")]
        assert slow.began.wait(PATIENCE_S)
        asked += [threads.submit(local.client.get, "/health") for _ in range(7)]
        assert local.client.get("/process/none").status_code == 404
        slow.go.set()

        assert [one.result(PATIENCE_S).status_code for one in asked] == [200] * 8

    assert slow.most == 1
