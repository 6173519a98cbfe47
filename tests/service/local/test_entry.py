"""Who gets in where: every route of the local gate's service by every kind of credential."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from crew_moe.auth.caller import ALL_SCOPES, AccessScope
from crew_moe.service.options import ServiceOptions
from tests.auth.issuing import authenticator, bearer, token
from tests.local_gate.engine_hosts import Upper
from tests.service.local.serving import Local, engine_of, serving

BODIES: Final[dict[str, Any]] = {
    "/v1/chat/completions": {"model": "moe-auto", "messages": [{"role": "user", "content": "x"}]},
    "/admin/reload-models": {"experts": ["upper"]},
}
ENDPOINTS: Final = {
    ("POST", "/process"): AccessScope.EXECUTE,
    ("POST", "/process/sync"): AccessScope.EXECUTE,
    ("GET", "/process/{job_id}"): AccessScope.EXECUTE,
    ("DELETE", "/process/{job_id}"): AccessScope.EXECUTE,
    ("POST", "/admin/reload-models"): AccessScope.ADMIN,
    ("POST", "/v1/chat/completions"): AccessScope.EXECUTE,
    ("GET", "/v1/models"): AccessScope.READ,
    ("GET", "/v1/models/{name}"): AccessScope.READ,
    ("GET", "/metrics"): AccessScope.READ,
}
EACH = pytest.mark.parametrize(("method", "path"), ENDPOINTS, ids=lambda part: str(part))
PAGE: Final = "https://console.example"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    asks_who = authenticator(tmp_path_factory.mktemp("keys"))
    options = ServiceOptions(
        rate="1000000/second", failures="1000000/second", origins=(PAGE,), hosts=("127.0.0.1",), max_body_bytes=2000
    )
    with serving(engine_of(Upper()), authenticator=asks_who, options=options) as found:
        yield found


def ask(local: Local, method: str, path: str, credential: str | None, **more: Any) -> int:
    headers = {} if credential is None else {"Authorization": bearer(credential)}
    url = path.replace("{job_id}", "none").replace("{name}", "moe-auto")
    body = BODIES.get(path, {"text": "x"}) if method == "POST" else None
    return local.client.request(method, url, json=body, headers={**headers, **more}).status_code


@EACH
@pytest.mark.parametrize("changed", [None, {"exp": 1, "iat": 0}, {"aud": "other"}, {"iss": "https://evil.example"}])
def test_nobody_gets_in_without_a_valid_credential(guarded: Local, changed: Any, method: str, path: str) -> None:
    everything: dict[str, Any] = {"scope": " ".join(ALL_SCOPES)}
    credential = None if changed is None else token(**{**everything, **changed})

    assert ask(guarded, method, path, credential) == 401


@EACH
def test_every_other_scope_is_not_enough(guarded: Local, method: str, path: str) -> None:
    others = " ".join(ALL_SCOPES - {ENDPOINTS[method, path]})

    assert ask(guarded, method, path, token(scope=others)) == 403


@EACH
def test_the_scope_is_enough(guarded: Local, method: str, path: str) -> None:
    operator: dict[str, Any] = {"tenant": None, "scope": " ".join(ALL_SCOPES)}
    changed = operator if path == "/metrics" else {"scope": ENDPOINTS[method, path]}

    assert ask(guarded, method, path, token(**changed)) not in {401, 403}


def test_a_job_is_for_nobody_else(guarded: Local) -> None:
    mine, other = ({"Authorization": bearer(token(sub=sub, scope=AccessScope.EXECUTE.value))} for sub in ("ann", "bob"))
    job = guarded.client.post("/process", json={"text": "mine"}, headers=mine).json()["job_id"]

    assert guarded.client.get(f"/process/{job}", headers=other).status_code == 404
    assert guarded.client.delete(f"/process/{job}", headers=other).status_code == 404
    assert guarded.client.get(f"/process/{job}", headers=mine).status_code == 200


def test_health_is_for_everybody(guarded: Local) -> None:
    assert guarded.client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"host": "evil.example"}, 421), ({"origin": "https://evil.example"}, 403), ({"origin": PAGE}, 200)],
)
def test_hosts_and_origins_are_those_that_were_named(guarded: Local, headers: dict[str, str], status: int) -> None:
    answer = guarded.client.get("/health", headers=headers)

    assert answer.status_code == status
    assert answer.headers.get("access-control-allow-origin") == (PAGE if headers.get("origin") == PAGE else None)


def test_the_table_knows_every_route(guarded: Local) -> None:
    document = guarded.client.get("/openapi.json").json()

    told = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    guarded_ones = {(m, p) for m, p in told if document["paths"][p][m.lower()].get("security")}
    assert guarded_ones == {(m, p) for m, p in ENDPOINTS}
    assert told - guarded_ones == {("GET", "/health")}


def test_a_remembered_answer_is_its_tenant_s_alone(guarded: Local) -> None:
    def cached(tenant: str) -> bool:
        credential = bearer(token(tenant=tenant, scope=AccessScope.EXECUTE.value))
        answer = guarded.client.post("/process/sync", json={"text": "kept"}, headers={"Authorization": credential})
        return bool(answer.json()["cached"])

    assert [cached("acme"), cached("globex"), cached("acme")] == [False, False, True]
