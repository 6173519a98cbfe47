"""Who gets in where over HTTP: every tool by every kind of credential."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastmcp.server.auth import AccessToken

from crew_moe.auth.authenticator import Authenticator
from crew_moe.auth.caller import ALL_SCOPES, LOCAL, AccessScope
from crew_moe.domain.host_rules import LOOPBACK
from crew_moe.domain.service import Registration
from crew_moe.router import Router
from crew_moe.settings import Settings
from crew_moe.telemetry.events import Recorder
from mcp_server.auth import caller_in
from mcp_server.server import RouterServer
from mcp_server.tools import TOOLS
from tests.auth.issuing import (
    AUDIENCE,
    ISSUER,
    add_api_key,
    authenticator,
    bearer,
    revoke_api_key,
    rsa_pair,
    token,
    write_public_key,
)
from tests.mcp_server.running import listening, server_of
from tests.mcp_server.snapshots import EVERYTHING

HEADERS = {"Accept": "application/json, text/event-stream"}
EVERY_SCOPE = " ".join(ALL_SCOPES)
REFUSED: dict[str, dict[str, Any] | None] = {
    "none": None,
    "expired": {"exp": 1, "iat": 0},
    "wrong audience": {"aud": "somebody-else"},
    "wrong issuer": {"iss": "https://evil.example"},
    "no tenant": {"tenant": None, "scope": "router:read"},
    "another key": {"pair": rsa_pair()},
}
FULL: dict[str, dict[str, Any]] = {
    "suggest_route": {"task_type": "planning"},
    "list_experts": {},
    "expert_health": {},
    "explain_decision": {"decision_id": "d-none-1"},
    "simulate_policy": {},
    "budget_status": {},
    "record_outcome": {"decision_id": "d-none-1", "expert_id": "o1", "success": True},
    "execute_crew": {"inputs": {}},
    "set_override": {"expert_id": "o1"},
    "clear_override": {"expert_id": "o1"},
}
EACH = pytest.mark.parametrize("row", TOOLS, ids=lambda row: row.name)


class Door:
    """The guarded server as somebody at its door sees it."""

    def __init__(self, client: httpx.Client, url: str) -> None:
        self._client = client
        self._url = url

    def ask(self, credential: str | None, method: str, params: dict[str, Any]) -> httpx.Response:
        headers = {} if credential is None else {"Authorization": bearer(credential)}
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return self._client.post(self._url, json=body, headers=headers)

    def call(self, credential: str | None, tool: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        """What a tool answers; its fault's code stands under `code`, the HTTP status where it is not let in."""
        answer = self.ask(credential, "tools/call", {"name": tool, "arguments": arguments or FULL[tool]})
        if answer.status_code != 200:
            return {"status": answer.status_code}
        result = json.loads(answer.text.partition("data: ")[2])["result"]
        return {"code": None, **result.get("structuredContent", {}), **result.get("_meta", {}).get("error", {})}

    def tools(self, credential: str) -> set[str]:
        answer = self.ask(credential, "tools/list", {})
        return {tool["name"] for tool in json.loads(answer.text.partition("data: ")[2])["result"]["tools"]}


@contextmanager
def _opened(server: RouterServer) -> Iterator[Door]:
    with listening(server) as url, httpx.Client(headers=HEADERS) as client:
        yield Door(client, url)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


@pytest.fixture
def door(router: Router, keys: Path) -> Iterator[Door]:
    with _opened(server_of(router, EVERYTHING, authenticator=authenticator(keys.parent))) as opened:
        yield opened


@pytest.fixture(scope="module")
def front_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """One for the tests that only ask who gets in."""
    guard = authenticator(tmp_path_factory.mktemp("keys"))
    with (
        Router.from_config(state=":memory:", sink=Recorder()) as router,
        _opened(server_of(router, EVERYTHING, authenticator=guard)) as opened,
    ):
        yield opened


@EACH
@pytest.mark.parametrize("kind", REFUSED)
def test_nobody_gets_in_with(front_door: Door, row: Any, kind: str) -> None:
    changed = REFUSED[kind]
    credential = None if changed is None else token(**{"scope": EVERY_SCOPE, **changed})

    assert front_door.call(credential, row.name) == {"status": 401}


@EACH
def test_every_other_scope_is_not_enough(front_door: Door, row: Any) -> None:
    credential = token(scope=" ".join(ALL_SCOPES - {row.scope}))

    assert row.name not in front_door.tools(credential)
    assert front_door.call(credential, row.name)["code"] == "unknown_tool"


@EACH
def test_the_scope_alone_is_enough(front_door: Door, row: Any) -> None:
    credential = token(scope=row.scope)

    assert front_door.tools(credential) == {one.name for one in TOOLS if one.scope is row.scope}
    assert front_door.call(credential, row.name)["code"] != "unknown_tool"


@pytest.mark.parametrize("pair", [None, rsa_pair()], ids=["ES256", "RS256"])
def test_both_kinds_of_signature_are_taken(router: Router, tmp_path: Path, pair: Any) -> None:
    settings = Settings(jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwt_keys=str(write_public_key(tmp_path, pair)))
    with _opened(server_of(router, authenticator=Authenticator.from_settings(settings))) as door:
        assert door.call(token(pair), "suggest_route")["ok"]


def test_api_key_gets_in_until_it_is_revoked(door: Door, keys: Path) -> None:
    key = add_api_key(keys)
    before = door.call(key, "suggest_route")

    revoke_api_key(keys, key)

    assert before["ok"]
    assert door.call(key, "suggest_route") == {"status": 401}


def test_tenant_of_the_token_is_the_tenant_of_the_request(door: Door) -> None:
    told = door.call(token(tenant="acme"), "suggest_route", {"task_type": "planning", "tenant": "other"})

    mine, theirs = (
        door.call(token(tenant=who), "explain_decision", {"decision_id": told["decision_id"]})
        for who in ("acme", "other")
    )
    assert (mine["code"], mine["decision_id"]) == (None, told["decision_id"])
    assert theirs["code"] == "unknown_decision"


def test_service_of_another_tenant_is_not_shown(keys: Path) -> None:
    entry = Registration(service_id="own", service_type="storage", endpoint="http://127.0.0.1:9/", tenant="acme")
    guard = authenticator(keys.parent)
    with (
        Router.from_config(state=":memory:", service_hosts=LOOPBACK) as router,
        _opened(server_of(router, authenticator=guard)) as door,
    ):
        router.services.register(entry)
        seen = {
            who: [
                door.call(token(tenant=who), "expert_health", {"expert_id": "own"})["code"],
                '"own' in door.ask(token(tenant=who), "resources/read", {"uri": "router://registry"}).text,
                "9/" in door.ask(token(tenant=who), "resources/read", {"uri": "router://experts/own"}).text,
            ]
            for who in ("acme", "other")
        }

    assert seen == {"acme": [None, True, False], "other": ["unknown_expert", False, False]}


def test_outcome_of_another_tenants_decision_is_refused(door: Door) -> None:
    told = door.call(token(tenant="acme"), "suggest_route")
    outcome = {"decision_id": told["decision_id"], "expert_id": told["expert_id"], "success": False}

    refused = door.call(token(tenant="other", scope=AccessScope.REPORT), "record_outcome", outcome)

    assert refused["code"] == "unknown_decision"


def test_budgets_of_another_tenant_are_not_shown(door: Door, router: Router) -> None:
    for name in ("acme", "other"):
        router.budgets.set(f"tenant:{name}", "5")

    seen = door.call(token(tenant="acme"), "budget_status")
    refused = door.call(token(tenant="acme"), "budget_status", {"scope": "tenant:other"})

    assert [scope["scope"] for scope in seen["scopes"]] == ["tenant:acme"]
    assert refused["code"] == "invalid_request"


def test_override_is_for_the_callers_tenant_alone(door: Door, router: Router) -> None:
    admin = token(tenant="acme", scope=AccessScope.ADMIN)

    made = door.call(admin, "set_override", {"expert_id": "o1"})
    refused = door.call(admin, "set_override", {"expert_id": "o1", "tenant": "other"})

    assert (made["tenant"], refused["code"]) == ("acme", "invalid_request")
    assert {pin["tenant"] for pin in router.stats()["pins"]} == {"acme"}
    assert door.call(token(tenant="other", scope=AccessScope.ADMIN), "clear_override", {"everything": True}) == {
        "code": None,
        "schema_version": "1",
        "removed": 0,
    }


@pytest.mark.parametrize("scope", [AccessScope.REPORT, AccessScope.ADMIN])
def test_reading_needs_its_scope_too(front_door: Door, scope: AccessScope) -> None:
    listed = [front_door.ask(token(scope=scope), f"{kind}/list", {}).text for kind in ("resources", "prompts")]
    read = front_door.ask(token(scope=scope), "resources/read", {"uri": "router://registry"}).text

    assert '"resources":[]' in listed[0]
    assert '"prompts":[]' in listed[1]
    assert "error" in read
    assert "anthropic" not in read


def test_a_token_that_our_verifier_did_not_accept_is_nobodys() -> None:
    strange = SimpleNamespace(access_token=AccessToken(token="", client_id="x", scopes=[], claims={}))

    with pytest.raises(KeyError):
        caller_in({"user": strange})
    assert caller_in({}) is LOCAL
