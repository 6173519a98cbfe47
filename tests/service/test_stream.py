"""The WebSocket as clients meet it: who gets in, what they see, and how it ends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from crew_moe import Outcome, RoutingRequest
from crew_moe.auth.caller import ALL_SCOPES, AccessScope
from crew_moe.service.conversation import Code
from tests.auth.issuing import bearer, token
from tests.service.running import Running
from tests.service.talking import ended, heard, talking
from tests.waiting import until

OPERATOR: dict[str, Any] = {"tenant": None, "scope": " ".join(ALL_SCOPES)}


def asked(service: Running, tenant: str | None = None) -> str:
    return service.router.decide(RoutingRequest(task_type="planning", text="a secret", tenant=tenant)).decision_id


def test_decision_is_seen_as_it_is_made(service: Running) -> None:
    with talking(service.url) as client:
        ready = heard(client)
        answer = service.post("/api/v1/route", {"task_type": "planning", "text": "a secret"}).json()
        event = heard(client, "decision")

    assert ready["kind"] == "ready"
    assert event["selected_services"] == answer["selected_services"]
    assert event["routing_strategy"] == answer["routing_strategy"]
    assert "secret" not in json.dumps(event)


def test_outcome_and_breaker_are_seen(service: Running) -> None:
    with talking(service.url, "?kinds=outcome,breaker") as client:
        heard(client, "ready")
        for _ in range(5):
            failed = Outcome(decision_id=asked(service), expert_id="gpt-4o-mini", success=False)
            service.router.record(failed)
        events = [heard(client) for _ in range(6)]

    assert {event["kind"] for event in events} == {"outcome", "breaker"}
    assert {event["key"] for event in events if event["kind"] == "breaker"} & {"expert:gpt-4o-mini", "provider:openai"}


def test_client_comes_back_to_its_cursor(service: Running) -> None:
    with talking(service.url) as client:
        place = heard(client)["cursor"]
    missed = [asked(service) for _ in range(3)]
    with talking(service.url, f"?cursor={place}") as client:
        seen = [heard(client, "decision")["decision_id"] for _ in range(3)]

    assert seen == missed


def test_client_changes_its_place_and_its_kinds_while_it_listens(service: Running) -> None:
    with talking(service.url, "?kinds=budget") as client:
        place = heard(client)["cursor"]
        missed = asked(service)
        client.send(json.dumps({"cursor": place, "kinds": ["decision"]}))

        assert heard(client, "decision")["decision_id"] == missed


def test_header_lets_in(guarded: Running) -> None:
    with talking(guarded.url, additional_headers={"Authorization": bearer(token())}) as client:
        assert heard(client)["kind"] == "ready"


def test_first_message_lets_in(guarded: Running) -> None:
    with talking(guarded.url) as client:
        client.send(json.dumps({"token": token(), "kinds": ["decision"]}))

        assert heard(client)["kind"] == "ready"


REFUSED: dict[str, tuple[dict[str, Any] | None, Code]] = {
    "none": (None, Code.UNAUTHORIZED),
    "expired": ({"exp": 1, "iat": 0}, Code.UNAUTHORIZED),
    "wrong audience": ({"aud": "somebody-else"}, Code.UNAUTHORIZED),
    "no tenant": ({"tenant": None}, Code.UNAUTHORIZED),
    "other scopes": ({"scope": " ".join(ALL_SCOPES - {AccessScope.READ})}, Code.FORBIDDEN),
}


@pytest.mark.parametrize("way", ["header", "message"])
@pytest.mark.parametrize("kind", REFUSED)
def test_nobody_gets_in_with(guarded: Running, kind: str, way: str) -> None:
    changed, code = REFUSED[kind]
    credential = "" if changed is None else token(**changed)
    headers = {"Authorization": bearer(credential)} if way == "header" else {}
    with talking(guarded.url, additional_headers=headers) as client:
        if way == "message":
            client.send(json.dumps({"token": credential}))

        assert ended(client) == code


@pytest.mark.parametrize(
    "message",
    ["", "[]", "{", "null", '{"kinds": ["all"]}', '{"kinds": 7}', '{"cursor": 7}', '{"cursor": "x"}', "{" * 20_000],
)
def test_message_that_is_none_ends_it(service: Running, message: str) -> None:
    with talking(service.url) as client:
        client.send(message)

        assert ended(client) == Code.BAD_MESSAGE


def test_what_is_wrong_in_the_address_ends_it(service: Running) -> None:
    for query in ("?cursor=latest", "?kinds=everything", "?cursor=1-2&kinds=,,x"):
        with talking(service.url, query) as client:
            assert ended(client) == Code.BAD_MESSAGE


def test_tenant_sees_its_own_and_what_concerns_all(guarded: Running) -> None:
    with talking(guarded.url, additional_headers={"Authorization": bearer(token())}) as client:
        heard(client, "ready")
        for tenant in ("globex", None, "acme"):
            asked(guarded, tenant)
        own = asked(guarded, "acme")
        seen = [heard(client, "decision") for _ in range(2)]

    assert seen[1]["decision_id"] == own
    assert "acme" not in json.dumps(seen)


def test_operator_sees_all(guarded: Running) -> None:
    with talking(guarded.url, additional_headers={"Authorization": bearer(token(**OPERATOR))}) as client:
        heard(client, "ready")
        made = [asked(guarded, tenant) for tenant in ("globex", None, "acme")]

        assert [heard(client, "decision")["decision_id"] for _ in made] == made


def test_page_of_a_strange_origin_is_not_answered(service: Running) -> None:
    with pytest.raises(InvalidStatus) as refused, talking(service.url, origin="https://evil.example"):
        pass

    assert refused.value.response.status_code == 403


def test_client_that_leaves_is_forgotten(service: Running) -> None:
    before = service.telemetry.feed.readers
    with talking(service.url) as client:
        heard(client)
        until(lambda: service.telemetry.feed.readers == before + 1)

    until(lambda: service.telemetry.feed.readers == before)
