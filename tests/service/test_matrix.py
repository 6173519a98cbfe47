"""Who gets in where: every route by every kind of credential."""

from __future__ import annotations

from typing import Any

import pytest

from crew_moe.auth.caller import ALL_SCOPES, AccessScope
from tests.auth.issuing import bearer, token
from tests.service.running import Running

BODIES: dict[str, object] = {"/v1/chat/completions": {"model": "auto", "messages": [{"role": "user", "content": "x"}]}}
REFUSED: dict[str, tuple[dict[str, Any] | None, int]] = {
    "none": (None, 401),
    "expired": ({"exp": 1, "iat": 0}, 401),
    "wrong audience": ({"aud": "somebody-else"}, 401),
    "wrong issuer": ({"iss": "https://evil.example"}, 401),
    "no tenant": ({"tenant": None, "scope": "router:read"}, 401),
}
ENDPOINTS: dict[tuple[str, str], AccessScope] = {
    ("POST", "/api/v1/route"): AccessScope.READ,
    ("POST", "/api/v1/route/batch"): AccessScope.READ,
    ("GET", "/api/v1/experts"): AccessScope.READ,
    ("GET", "/api/v1/health"): AccessScope.READ,
    ("GET", "/api/v1/metrics"): AccessScope.READ,
    ("GET", "/api/v1/decisions/{decision_id}"): AccessScope.READ,
    ("GET", "/api/v1/services"): AccessScope.READ,
    ("GET", "/api/v1/demo/smart_routing"): AccessScope.READ,
    ("POST", "/api/v1/outcomes"): AccessScope.REPORT,
    ("POST", "/api/v1/feedback"): AccessScope.REPORT,
    ("POST", "/api/v1/strategy/override"): AccessScope.ADMIN,
    ("POST", "/api/v1/services/register"): AccessScope.ADMIN,
    ("DELETE", "/api/v1/services/{service_id}"): AccessScope.ADMIN,
    ("POST", "/api/v1/load/rebalance"): AccessScope.ADMIN,
    ("POST", "/v1/chat/completions"): AccessScope.EXECUTE,
    ("GET", "/v1/models"): AccessScope.READ,
    ("GET", "/v1/models/{name}"): AccessScope.READ,
    ("GET", "/metrics"): AccessScope.READ,
}
EACH = pytest.mark.parametrize(("method", "path"), ENDPOINTS, ids=lambda part: str(part))


def _ask(service: Running, method: str, path: str, credential: str | None) -> int:
    headers = {} if credential is None else {"Authorization": bearer(credential)}
    url = path.replace("{decision_id}", "d-none-1").replace("{service_id}", "nobody").replace("{name}", "auto")
    body = BODIES.get(path, {"text": "x"}) if method == "POST" else None
    return service.client.request(method, url, json=body, headers=headers).status_code


@EACH
@pytest.mark.parametrize("kind", REFUSED)
def test_nobody_gets_in_with(guarded: Running, kind: str, method: str, path: str) -> None:
    changed, status = REFUSED[kind]
    everything: dict[str, Any] = {"scope": " ".join(ALL_SCOPES)}
    credential = None if changed is None else token(**{**everything, **changed})

    assert _ask(guarded, method, path, credential) == status


@EACH
def test_every_other_scope_is_not_enough(guarded: Running, method: str, path: str) -> None:
    others = " ".join(ALL_SCOPES - {ENDPOINTS[method, path]})

    assert _ask(guarded, method, path, token(scope=others)) == 403


@EACH
def test_the_scope_alone_is_enough(guarded: Running, method: str, path: str) -> None:
    operator: dict[str, Any] = {"tenant": None, "scope": " ".join(ALL_SCOPES)}
    changed = operator if path == "/metrics" else {"scope": ENDPOINTS[method, path]}

    assert _ask(guarded, method, path, token(**changed)) not in {401, 403}


def test_metrics_of_all_tenants_are_for_operators(guarded: Running) -> None:
    assert _ask(guarded, "GET", "/metrics", token(scope=AccessScope.READ)) == 403


def test_the_matrix_knows_every_endpoint(guarded: Running) -> None:
    document = guarded.client.get("/openapi.json").json()

    known = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert known - set(ENDPOINTS) == {("GET", path) for path in ("/health", "/ready")}
    assert set(ENDPOINTS) <= known


def test_a_decision_of_another_tenant_is_unknown(guarded: Running) -> None:
    acme, other = ({"Authorization": bearer(token(tenant=name))} for name in ("acme", "other"))
    decision_id = guarded.post("/api/v1/route", {"text": "x"}, headers=acme).json()["decision_id"]

    seen = [guarded.client.get(f"/api/v1/decisions/{decision_id}", headers=who).status_code for who in (acme, other)]

    assert seen == [200, 404]


def test_rows_of_a_batch_belong_to_the_tenant_that_asked(guarded: Running) -> None:
    acme, other = ({"Authorization": bearer(token(tenant=name))} for name in ("acme", "other"))
    rows = [{"task_type": "testing"}, {"text": "Describe it"}, {"text": "x", "strategy": "rule"}]
    results = guarded.post("/api/v1/route/batch", {"requests": rows}, headers=acme).json()["results"]

    for who, status in ((acme, 200), (other, 404)):
        paths = [f"/api/v1/decisions/{row['decision_id']}" for row in results]
        assert [guarded.client.get(path, headers=who).status_code for path in paths] == [status] * 3


def test_nobody_reports_on_the_decisions_of_another_tenant(guarded: Running) -> None:
    acme = {"Authorization": bearer(token(tenant="acme"))}
    decision = guarded.post("/api/v1/route", {"text": "x"}, headers=acme).json()
    outcome = {"decision_id": decision["decision_id"], "expert_id": decision["expert_id"], "success": False}

    other = {"Authorization": bearer(token(tenant="other", scope=AccessScope.REPORT))}
    answers = [
        guarded.post(f"/api/v1/{path}", body, headers=other)
        for path, body in (
            ("outcomes", outcome),
            ("feedback", {"decision_id": decision["decision_id"], "source": "x", "quality": 0.1}),
        )
    ]

    assert [answer.status_code for answer in answers] == [404, 404]


def test_the_body_cannot_speak_for_another_tenant(guarded: Running) -> None:
    acme = {"Authorization": bearer(token(tenant="acme"))}

    told = guarded.post("/api/v1/route", {"text": "x", "tenant": "other"}, headers=acme).json()

    other = {"Authorization": bearer(token(tenant="other"))}
    assert guarded.client.get(f"/api/v1/decisions/{told['decision_id']}", headers=other).status_code == 404


def test_an_override_of_a_tenant_binds_that_tenant_alone(guarded: Running) -> None:
    admin = {"Authorization": bearer(token(tenant="pinned", scope=" ".join(ALL_SCOPES)))}
    made = guarded.post("/api/v1/strategy/override", {"expert_id": "gpt-4o-mini", "minutes": 5}, headers=admin)
    other = {"Authorization": bearer(token(tenant="acme"))}

    inside = guarded.post("/api/v1/route", {"text": "Describe it"}, headers=admin).json()["expert_id"]
    outside = guarded.post("/api/v1/route", {"text": "Describe it", "tier": "premium"}, headers=other).json()[
        "expert_id"
    ]

    assert (made.json()["tenant"], inside) == ("pinned", "gpt-4o-mini")
    assert outside != "gpt-4o-mini"


def test_an_admin_cannot_pin_another_tenant(guarded: Running) -> None:
    admin = {"Authorization": bearer(token(tenant="acme", scope=" ".join(ALL_SCOPES)))}

    answer = guarded.post("/api/v1/strategy/override", {"strategy": "rule", "tenant": "other"}, headers=admin)

    assert (answer.status_code, answer.json()["where"]) == (422, "tenant")
