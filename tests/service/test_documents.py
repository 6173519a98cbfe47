"""The OpenAPI document: whole, true of what it shows, and with examples that work as they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from crew_moe.strategies import STRATEGIES
from tests.service.running import Running, running

SHOWN_WITH_A_MADE_UP_DECISION = {"/api/v1/outcomes", "/api/v1/feedback"}


@pytest.fixture(scope="module")
def document(service: Running) -> dict[str, Any]:
    found: dict[str, Any] = service.client.get("/openapi.json").raise_for_status().json()
    return found


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    referred = set(re.findall(r'"#/components/schemas/([^"]+)"', str(document).replace("'", '"')))

    assert referred - set(document["components"]["schemas"]) == set()


def test_every_operation_says_what_it_does_and_who_may(document: dict[str, Any]) -> None:
    for method, path, operation in _operations(document):
        assert operation["summary"], path
        assert operation.get("description") or method == "get", path
        assert path in {"/health", "/ready"} or operation["security"] == [{"bearer": []}], path


def test_names_that_exist_are_listed(document: dict[str, Any]) -> None:
    text = str(document["components"]["schemas"]["RouteRequest"]["properties"]["strategy"])

    assert all(name in text for name in STRATEGIES)


def test_every_example_works(document: dict[str, Any]) -> None:
    with running() as service:
        for method, path, operation in _operations(document):
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            for name, example in content.get("examples", {}).items():
                if path not in SHOWN_WITH_A_MADE_UP_DECISION and not path.startswith("/v1/"):
                    answer = service.client.request(method, path, json=example["value"])
                    assert answer.is_success, (path, name, answer.text)


def test_two_apps_have_the_same_document(document: dict[str, Any]) -> None:
    with running() as other:
        assert other.client.get("/openapi.json").json() == document


SAYING = ("Plan it", "!!!", "\u00fe/\u00cc", "\U0001f600", "\x00", "\ufeff")
BLANK = (" ", "\x1c\x85", "\u3000\u2028")


@pytest.mark.parametrize("text", [*SAYING, *BLANK])
def test_a_text_that_tells_something_is_what_the_document_says(
    document: dict[str, Any], service: Running, text: str
) -> None:
    spoken = next(
        one for one in document["components"]["schemas"]["RouteRequest"]["anyOf"] if "text" in one["required"]
    )

    answer = service.client.post("/api/v1/route", json={"text": text})

    assert (answer.status_code == 200) is bool(re.search(spoken["properties"]["text"]["pattern"], text))


def test_a_word_that_stands_twice_is_taken_as_the_document_says(document: dict[str, Any], service: Running) -> None:
    answer = service.client.post("/api/v1/route", json={"text": "Plan it", "requires": ["tools", "tools"]})

    assert answer.status_code == 200
    assert "uniqueItems" not in str(document["components"]["schemas"])
