"""Services that register over HTTP: routed to by type, proxied to, rebalanced, and gone again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.service.running import Running, running
from tests.service_host import Host, hosting

REGISTER = "/api/v1/services/register"
ROUTE = "/api/v1/route"


@pytest.fixture
def host() -> Iterator[Host]:
    with hosting() as running_host:
        yield running_host


@pytest.fixture
def open_service() -> Iterator[Running]:
    with running() as found:
        yield found


def _register(service: Running, host: Host, service_id: str = "custom_processor", **told: Any) -> httpx.Response:
    """As seed 004 registers, at the host's address."""
    body = {
        "service_id": service_id,
        "service_type": "custom",
        "endpoint": host.url(),
        "capabilities": ["processing", "analysis_of_logs"],
        "max_capacity": 100,
    }
    return service.post(REGISTER, {**body, **told})


def test_the_seeds_registration_is_routed_to(open_service: Running, host: Host) -> None:
    made = _register(open_service, host)
    by_type, by_capability = (
        open_service.post(ROUTE, {"data": {"type": kind, "data": [1]}}).json() for kind in ("custom", "processing")
    )

    assert (made.status_code, made.json()["registered_by"]) == (201, "local")
    assert by_type["selected_services"] == by_capability["selected_services"] == ["custom_processor"]
    assert by_type["routing_strategy"] == "weighted"


def test_work_is_done_where_it_is_routed_to(open_service: Running, host: Host) -> None:
    _register(open_service, host)
    host.body = b'{"sum": 3}'
    host.open.set()

    answer = open_service.post(ROUTE, {"data": {"type": "custom", "data": {"add": [1, 2]}}, "proxy": True})

    assert answer.raise_for_status().json()["response"] == {"sum": 3}
    assert host.posts == [{"add": [1, 2]}]


def test_work_that_nobody_does_is_not_proxied(open_service: Running) -> None:
    answer = open_service.post(ROUTE, {"data": {"type": "nothing"}, "proxy": True})

    assert (answer.status_code, answer.json()["code"]) == (404, "no_service")


def test_a_batch_mixes_services_and_experts(open_service: Running, host: Host) -> None:
    _register(open_service, host)
    rows = [{"type": "custom", "data": 1}, {"type": "inference", "data": "Why?"}, {"task_type": "testing"}]

    results = open_service.post("/api/v1/route/batch", {"requests": rows}).raise_for_status().json()["results"]

    assert results[0]["selected_services"] == ["custom_processor"]
    assert all(row["ok"] and row["expert_id"] != "custom_processor" for row in results[1:])


def test_services_are_listed_rebalanced_and_unregistered(open_service: Running, host: Host) -> None:
    for name in ("one", "two"):
        _register(open_service, host, name, health_url=host.url("/health"))
    client = open_service.client

    listed = client.get("/api/v1/services").raise_for_status().json()["services"]
    balanced = client.post("/api/v1/load/rebalance").raise_for_status().json()["rebalanced"]
    gone = client.delete("/api/v1/services/one").raise_for_status().json()

    assert sorted(row["service_id"] for row in listed) == ["one", "two"]
    assert balanced[0]["healthy"] == {"one": True, "two": True}
    assert balanced[0]["score_after"] >= 0.85
    assert gone["service_id"] == "one"
    assert [row["service_id"] for row in client.get("/api/v1/services").json()["services"]] == ["two"]


@pytest.mark.parametrize(
    ("told", "status", "code"),
    [
        ({"endpoint": "http://169.254.169.254/latest"}, 403, "host_not_allowed"),
        ({"endpoint": "http://10.0.0.8:80/"}, 403, "host_not_allowed"),
        ({"endpoint": "ftp://localhost/x"}, 422, "invalid_request"),
        ({"service_id": "gpt-4o"}, 409, "service_conflict"),
        ({"max_capacity": 0}, 422, "invalid_request"),
        ({"service_tpye": "x"}, 422, "invalid_request"),
    ],
)
def test_what_may_not_register_is_told_why(
    open_service: Running, host: Host, told: dict[str, Any], status: int, code: str
) -> None:
    answer = _register(open_service, host, **told)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
