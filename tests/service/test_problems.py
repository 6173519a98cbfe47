"""Every error is a problem in the sense of RFC 9457: it names what, where, what is valid, and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from crew_moe.service.problem import MEDIA_TYPE
from tests.service.running import Running

ROUTE = "/api/v1/route"


@pytest.mark.parametrize(
    ("body", "where", "told"),
    [
        ({"text": "x", "min_quality": 2}, "min_quality", "less than or equal to 1"),
        ({"text": "x", "min_qualty": 0.5}, "", "unknown field 'min_qualty'"),
        ({"text": "x", "task_type": "code_generatoin"}, "task_type", "not one of the allowed values"),
        ([1, 2], "", "must be a mapping"),
    ],
)
def test_a_wrong_field_is_named(service: Running, body: Any, where: str, told: str) -> None:
    answer = service.post(ROUTE, body)

    problem = answer.json()
    assert answer.status_code == 422
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert (problem["where"] or "") == where
    assert told in problem["detail"]


def test_the_closest_match_is_told(service: Running) -> None:
    problem = service.post(ROUTE, {"text": "x", "task_type": "code_generatoin"}).json()

    assert problem["closest"] == "code_generation"
    assert "did you mean 'code_generation'?" in problem["detail"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"text": NaN}', b"[" * 3000])
def test_what_is_no_json_is_refused(service: Running, body: bytes) -> None:
    answer = service.client.post(ROUTE, content=body, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_a_problem_never_repeats_a_prompt(service: Running) -> None:
    answer = service.post(ROUTE, {"text": ["the launch code is 0000"]})

    assert answer.status_code == 422
    assert "0000" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nowhere", 404, "not_found"),
        ("PUT", ROUTE, 405, "method_not_allowed"),
        ("GET", "/api/v1/decisions/d-none-1", 404, "unknown_decision"),
        ("GET", "/api/v1/experts?limit=0", 422, "invalid_request"),
        ("GET", "/api/v1/experts?cursor=%21%21", 404, "unknown_cursor"),
        ("GET", "/api/v1/experts?fields=prise", 422, "invalid_request"),
        ("DELETE", "/api/v1/services/nobody", 404, "unknown_service"),
    ],
)
def test_other_errors_are_problems_too(service: Running, method: str, path: str, status: int, code: str) -> None:
    answer = service.client.request(method, path)

    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert problem["type"] == f"urn:crew-moe:problem:{code}"
    assert problem["instance"] == path.partition("?")[0]
    assert problem["request_id"] == answer.headers["x-request-id"]
