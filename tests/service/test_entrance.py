"""What a request passes before any route."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from fastapi import APIRouter, Request, Response

from crew_moe.auth.caller import AccessScope
from crew_moe.service.access import GuardedRoute, needs
from crew_moe.service.options import ServiceOptions
from tests.auth.issuing import authenticator, bearer, token
from tests.redis_server import RedisServer
from tests.service.running import Running, running

ROUTE = "/api/v1/route"
PAGE = "https://console.example"


def _broken() -> APIRouter:
    """A route with a mistake in it, and one that never answers."""
    routes = APIRouter(route_class=GuardedRoute)

    @routes.get("/broken")
    @needs(AccessScope.READ)
    async def broken() -> None:
        raise RuntimeError("the launch code is 0000")

    @routes.post("/read", response_class=Response)
    @needs(AccessScope.READ, plain=True)
    async def read(request: Request) -> Response:
        return Response(str(len(await request.body())))

    return routes


@pytest.fixture(scope="module")
def narrow() -> Iterator[Running]:
    options = ServiceOptions(rate="1000000/second", max_body_bytes=1000, origins=(PAGE,), hosts=("127.0.0.1", "router"))
    with running(options=options, extra=_broken()) as found:
        yield found


def test_every_answer_has_a_request_id(service: Running) -> None:
    answers = [service.client.get("/health"), service.client.get("/nowhere"), service.post(ROUTE, {})]

    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == 3


def test_a_request_keeps_the_id_that_it_brought(service: Running) -> None:
    assert service.client.get("/health", headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1"


@pytest.mark.parametrize("brought", ["a b", "x" * 200, "a\tb", "<script>"])
def test_an_id_that_could_not_be_logged_is_not_kept(service: Running, brought: str) -> None:
    assert service.client.get("/health", headers={"X-Request-ID": brought}).headers["x-request-id"] != brought


def test_a_host_that_is_not_served_gets_nothing(narrow: Running) -> None:
    answer = narrow.client.get("/health", headers={"Host": "evil.example"})

    assert (answer.status_code, answer.json()["code"]) == (421, "wrong_host")
    assert narrow.client.get("/health", headers={"Host": "router:8005"}).status_code == 200


def test_a_foreign_origin_gets_nothing(narrow: Running) -> None:
    answer = narrow.client.post(ROUTE, json={"text": "x"}, headers={"Origin": "https://evil.example"})

    assert (answer.status_code, answer.json()["code"]) == (403, "wrong_origin")


def test_another_port_of_the_same_machine_is_another_origin(narrow: Running) -> None:
    own, other = (
        narrow.client.post(ROUTE, json={"text": "x"}, headers={"Origin": origin})
        for origin in (narrow.url, "http://127.0.0.1:1")
    )

    assert (own.status_code, other.status_code) == (200, 403)


def test_a_page_of_an_allowed_origin_may_ask_first(narrow: Running) -> None:
    asks = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}

    answer = narrow.client.options(ROUTE, headers=asks)

    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE


def test_no_page_may_ask_where_no_origin_is_listed(service: Running) -> None:
    asks = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}

    answer = service.client.options(ROUTE, headers=asks)

    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_long_is_refused(narrow: Running, chunked: bool) -> None:
    parts = [b"x" * 600, b"x" * 600]

    answer = narrow.client.post("/read", content=iter(parts) if chunked else b"".join(parts))

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_what_nobody_expected_gives_nothing_away(narrow: Running) -> None:
    answer = narrow.client.get("/broken")

    assert (answer.status_code, answer.json()["code"]) == (500, "unexpected")
    assert "0000" not in answer.text
    assert [fields["error"] for name, fields in narrow.log.events if name == "request_failed"] == ["RuntimeError"]


def test_the_rate_of_a_caller_is_told_and_held(tmp_path: Path) -> None:
    options = ServiceOptions(rate="3/hour")
    with running(authenticator=authenticator(tmp_path), options=options) as service:
        ada, bob = ({"Authorization": bearer(token(sub=name))} for name in ("ada", "bob"))
        answers = [service.post(ROUTE, {"text": "x"}, headers=ada) for _ in range(4)]
        other = service.post(ROUTE, {"text": "x"}, headers=bob)

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["ratelimit-policy"] == '"requests";q=3;w=3600'
    assert int(answers[3].headers["retry-after"]) > 0
    assert other.status_code == 200


def test_nobody_tries_keys_for_long(tmp_path: Path) -> None:
    with running(authenticator=authenticator(tmp_path)) as service:
        wrong = {"Authorization": bearer("cmk_aaaaaaaa_wrong")}
        statuses = [service.post(ROUTE, {}, headers=wrong).status_code for _ in range(32)]

    assert (statuses[0], statuses[-1]) == (401, 429)


def test_a_slow_answer_is_given_up() -> None:
    routes = APIRouter(route_class=GuardedRoute)

    @routes.get("/never")
    @needs(AccessScope.READ)
    async def never() -> None:
        import asyncio

        await asyncio.Event().wait()

    with running(options=ServiceOptions(timeout_s=0.05), extra=routes) as service:
        answer = service.client.get("/never")

    assert (answer.status_code, answer.json()["code"]) == (504, "timeout")


def test_a_body_that_does_not_come_is_given_up() -> None:
    with running(options=ServiceOptions(timeout_s=0.05)) as service:
        place = service.client.base_url.host, service.client.base_url.port
        with socket.create_connection(place, timeout=30) as client:
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{")
            answer = client.makefile("rb").readline()

    assert answer.startswith(b"HTTP/1.1 504 ")


def test_probes_need_nobody_and_carry_no_data(guarded: Running) -> None:
    assert guarded.client.get("/health").json() == {"status": "ok"}
    assert guarded.client.get("/ready").json() == {"status": "ready"}


def test_a_lost_state_is_not_ready(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.router.state, "version", _unreachable)

    answer = httpx.get(f"{service.url}/ready")

    assert (answer.status_code, answer.json()) == (503, {"status": "not_ready"})


def _unreachable() -> int:
    from crew_moe.errors import StateError

    raise StateError("the state store can't be reached")


def test_rates_that_nobody_counts_any_more_are_an_alarm(mortal_redis: RedisServer) -> None:
    with running(state=mortal_redis.url) as service:
        mortal_redis.kill()

        figures = service.client.get("/metrics").raise_for_status().text

    assert 'crew_moe_alarms_total{event="rates_lost"} 1.0' in figures


def test_who_tries_credentials_for_long_has_to_wait_and_is_counted(tmp_path: Path) -> None:
    asking = authenticator(tmp_path)
    with running(authenticator=asking, options=ServiceOptions(failures="2/minute")) as service:
        answers = [service.client.get(ROUTE, headers={"X-API-Key": f"guess {number}"}) for number in range(3)]

        counted = service.telemetry.metrics.as_json()["metrics"]["crew_moe_rate_limited_total"]["samples"]

    assert [answer.status_code for answer in answers] == [401, 401, 429]
    assert int(answers[2].headers["Retry-After"]) in range(1, 61)
    assert [(row["labels"], row["value"]) for row in counted] == [({"limit": "failures"}, 1.0)]


def test_clients_of_openai_read_what_the_entrance_says(guarded: Running) -> None:
    stranger = openai.OpenAI(base_url=f"{guarded.url}/v1", api_key="cmk_aaaaaaaa_wrong", max_retries=0)
    reader = openai.OpenAI(base_url=f"{guarded.url}/v1", api_key=token(), max_retries=0)

    with stranger, reader:
        with pytest.raises(openai.AuthenticationError) as refused:
            stranger.models.list()
        with pytest.raises(openai.PermissionDeniedError) as lacking:
            reader.chat.completions.create(model="auto", messages=[{"role": "user", "content": "Hi"}])

    assert (refused.value.code, lacking.value.code) == ("credential_invalid", "forbidden")
