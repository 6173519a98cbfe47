"""Providers' complaints, as they really word them, become error classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.meter import Told
from crew_moe.domain.outcome import ErrorClass
from crew_moe.execution.failure import CallFailed, classify, classify_error
from tests.execution.given import NOW


def told(status: int, body: object = None, headers: Mapping[str, str] | None = None) -> CallFailed:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return classify(status, headers or {}, content, now=NOW)


def openai(code: str | None, message: str = "", **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code, **fields}}


def anthropic(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


def google(code: int, status: str, message: str) -> list[dict[str, Any]]:
    return [{"error": {"code": code, "status": status, "message": message}}]


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, openai("context_length_exceeded", "This model's maximum context length is 128000 tokens"), "overflow"),
        (400, openai(None, "This model's maximum context length is 8192 tokens. However, you requested"), "overflow"),
        (400, openai("content_filter", "The response was filtered"), "refused"),
        (400, openai("content_policy_violation", "rejected as a result of our safety system"), "refused"),
        (404, openai("model_not_found", "The model `gpt-4` does not exist"), "not_found"),
        (401, openai("invalid_api_key", "Incorrect API key provided"), "auth"),
        (429, openai("insufficient_quota", "You exceeded your current quota"), "auth"),
        (429, openai("rate_limit_exceeded", "Rate limit reached for gpt-4o"), "rate_limit"),
        (400, openai("unsupported_parameter", "Unsupported parameter: 'max_tokens'"), "bad_request"),
        (400, anthropic("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"), "overflow"),
        (400, anthropic("invalid_request_error", "Your credit balance is too low to access the API"), "auth"),
        (404, anthropic("not_found_error", "model: claude-3-opus"), "not_found"),
        (413, anthropic("request_too_large", "Request exceeds the maximum size"), "overflow"),
        (429, anthropic("rate_limit_error", "Number of request tokens has exceeded"), "rate_limit"),
        (529, anthropic("overloaded_error", "Overloaded"), "server"),
        (504, anthropic("timeout_error", "Request timed out"), "timeout"),
        (400, google(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."), "auth"),
        (400, google(400, "INVALID_ARGUMENT", "The input token count (1200000) exceeds the maximum"), "overflow"),
        (403, google(403, "PERMISSION_DENIED", "no access"), "auth"),
        (404, google(404, "NOT_FOUND", "models/gemini-1.0 is not found"), "not_found"),
        (429, google(429, "RESOURCE_EXHAUSTED", "Quota exceeded"), "rate_limit"),
        (503, google(503, "UNAVAILABLE", "The model is overloaded"), "server"),
        (410, {"message": "this model was retired"}, "not_found"),
        (422, {"object": "error", "message": "invalid role"}, "bad_request"),
        (400, openai(None, "The model has been decommissioned and is no longer supported"), "not_found"),
    ],
)
def test_providers_wording_is_understood(status: int, body: object, expected: str) -> None:
    wanted = {"overflow": ErrorClass.CONTEXT_OVERFLOW}.get(expected) or ErrorClass(expected)

    assert told(status, body).error_class is wanted


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (307, ErrorClass.NOT_FOUND),
        (400, ErrorClass.BAD_REQUEST),
        (401, ErrorClass.AUTH),
        (402, ErrorClass.AUTH),
        (408, ErrorClass.TIMEOUT),
        (418, ErrorClass.BAD_REQUEST),
        (429, ErrorClass.RATE_LIMIT),
        (451, ErrorClass.REFUSED),
        (500, ErrorClass.SERVER),
        (504, ErrorClass.TIMEOUT),
        (599, ErrorClass.SERVER),
    ],
)
def test_status_decides_where_the_body_says_nothing(status: int, expected: ErrorClass) -> None:
    assert told(status, b"<html>gateway</html>").error_class is expected


def test_detail_names_code_parameter_and_message() -> None:
    failure = told(400, openai("unsupported_parameter", "Use 'max_completion_tokens' instead.", param="max_tokens"))

    wanted = "HTTP 400: unsupported_parameter: parameter max_tokens: Use 'max_completion_tokens' instead."
    assert failure.detail == wanted
    assert str(failure) == f"bad_request: {wanted}"


def test_detail_holds_neither_key_nor_prompt() -> None:
    body = openai("invalid_value", "Incorrect API key provided: sk-abcdef1234567890. Prompt: what is the capital of")
    failure = classify(400, {}, json.dumps(body).encode(), now=NOW, private=["What is the capital of France?"])

    assert failure.detail == "HTTP 400: invalid_value"


def test_error_in_an_answer_that_began_well_is_classified_by_its_code() -> None:
    assert classify_error({"code": 429, "message": "slow down"}).error_class is ErrorClass.RATE_LIMIT
    assert classify_error({"type": "overloaded_error", "message": "Overloaded"}).error_class is ErrorClass.SERVER
    assert classify_error("something broke").error_class is ErrorClass.SERVER


def test_refusal_tells_the_limits_and_how_long_to_wait() -> None:
    headers = {"x-ratelimit-limit-requests": "10", "x-ratelimit-remaining-requests": "0", "retry-after": "6"}

    failure = told(429, openai("rate_limit_exceeded"), headers)

    assert failure.retry_after_ms == 6_000.0
    assert failure.limits == (Told(rate="requests", remaining=0.0),)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "code", "type", "message", "status", "param", "detail"]) | st.text(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(status=st.integers(100, 599), body=JSON | st.binary(), header=st.text(max_size=40))
def test_any_body_gives_a_failure_with_a_short_detail(status: int, body: object, header: str) -> None:
    failure = told(status, body, {"retry-after": header, "date": header})

    assert failure.status == status
    assert len(failure.detail) < 400
