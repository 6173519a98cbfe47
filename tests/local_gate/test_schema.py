from __future__ import annotations

import json
from typing import Any, Literal

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from crew_moe.local_gate.extractive.schema import MISSING, fill
from crew_moe.local_gate.extractive.supply import Supply

SUPPLY = Supply(
    request='Search "pool limits" in reports/march.md for the top 3 causes. Ask the Writer.',
    text="The pool failed on 2026-03-12. Priority: 7. Status is open. Mail ops@halden.example, see https://halden.example/x.",
    title="Outage",
    summary="The pool failed.",
    sentences=("The pool failed.", "The queue was full.", "Nobody was on call."),
    keywords=("pool", "queue"),
)


class Finding(BaseModel):
    title: str
    severity: Literal["low", "high"]
    evidence: str = Field(max_length=20)


class Report(BaseModel):
    summary: str
    findings: list[Finding] = Field(min_length=2)
    keywords: list[str]
    confidence: float = Field(ge=0, le=1)
    priority: int = Field(gt=0)
    accepted: bool
    note: str | None
    parent: Report | None = None


def test_answer_of_a_pydantic_model_validates() -> None:
    report = Report.model_validate(fill(Report.model_json_schema(), SUPPLY))

    assert report.summary == "The pool failed."
    assert [finding.evidence for finding in report.findings] == [
        "The pool failed.", "The queue was full.", "Nobody was on call.",
    ]  # fmt: skip
    assert (report.keywords, report.priority, report.accepted) == (["pool", "queue"], 7, False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("file_path", "reports/march.md"),
        ("website_url", "https://halden.example/x"),
        ("email", "ops@halden.example"),
        ("start_date", "2026-03-12"),
        ("query", "pool limits"),
        ("question", SUPPLY.request),
        ("status", "open"),
        ("content", SUPPLY.text),
    ],
)
def test_text_field_is_filled_by_its_name(name: str, value: str) -> None:
    schema = {"type": "object", "properties": {name: {"type": "string"}}, "required": [name]}

    assert fill(schema, SUPPLY, strict=True) == {name: value}


def test_list_of_queries_holds_one_query() -> None:
    schema = {"type": "object", "properties": {"queries": {"type": "array", "items": {"type": "string"}}}}

    assert fill(schema, SUPPLY)["queries"] == ["pool limits"]


def test_number_beside_the_fields_name_wins_over_the_first_of_the_request() -> None:
    fields = {"priority": {"type": "integer"}, "top": {"type": "integer"}}
    schema = {"type": "object", "properties": fields, "required": ["priority", "top"]}

    assert fill(schema, SUPPLY, strict=True) == {"priority": 7, "top": 3}


def test_enum_takes_the_value_that_the_request_names() -> None:
    assert fill({"enum": ["Auditor", "Writer"]}, SUPPLY, strict=True) == "Writer"
    assert fill({"enum": ["red", "green"]}, SUPPLY) == "red"


def test_values_listed_in_a_description_are_a_choice() -> None:
    field = {"type": "string", "description": "Ask one of the following coworkers: Auditor, Writer\nThe input"}

    assert fill({"properties": {"coworker": field}, "required": ["coworker"]}, SUPPLY, strict=True) == {
        "coworker": "Writer"
    }


@pytest.mark.parametrize("field", [{"type": "string"}, {"type": "boolean"}, {"enum": ["red"]}])
def test_strict_filling_refuses_what_the_text_does_not_hold(field: dict[str, Any]) -> None:
    bare = Supply(request="Go.", text="Go.", title="", summary="Go.", sentences=("Go.",), keywords=())

    assert fill({"properties": {"zone": field}, "required": ["zone"]}, bare, strict=True) is MISSING


def test_strict_filling_leaves_optional_fields_away() -> None:
    assert fill({"properties": {"query": {"type": "string"}}}, SUPPLY, strict=True) == {}


PLAIN = {
    "string": {"type": "string", "minLength": 30},
    "exclusive": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "maximum": {"type": "integer", "maximum": -4},
    "tuple": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}], "maxItems": 2},
    "const": {"const": {"a": 1}},
    "union": {"type": ["null", "integer"]},
    "any": {"anyOf": [{"type": "null"}, {"type": "array", "items": {"type": "integer"}}]},
    "all": {"allOf": [{"required": ["a"]}, {"properties": {"a": {"type": "integer", "minimum": 2}}}]},
    "free": {"type": "object", "additionalProperties": {"type": "string"}},
    "date": {"type": "string", "format": "date-time"},
}  # fmt: skip


@pytest.mark.parametrize("schema", PLAIN.values(), ids=PLAIN.keys())
def test_lenient_answer_is_valid_by_its_schema(schema: dict[str, Any]) -> None:
    jsonschema.validate(fill(schema, SUPPLY), schema, format_checker=jsonschema.FormatChecker())


RECURSIVE: dict[str, Any] = {
    "$defs": {"node": {"type": "object", "properties": {name: {"$ref": "#/$defs/node"} for name in "abcdefghij"}}},
    "$ref": "#/$defs/node",
}
DEMANDING = {"type": "object", "properties": {"self": {"$ref": "#"}}, "required": ["self"]}


@pytest.mark.parametrize("schema", [RECURSIVE, DEMANDING, {"$ref": "#"}, {"type": "array", "minItems": 10**9}])
def test_schema_without_end_ends(schema: dict[str, Any]) -> None:
    assert len(json.dumps(fill(schema, SUPPLY))) < 1_000_000


KEYS = ["type", "properties", "items", "required", "enum", "anyOf", "allOf", "$ref", "minItems", "maximum", "format"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["string", "object", "array", "#", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), JSON), st.booleans())
def test_no_schema_breaks_the_filling(schema: dict[str, Any], strict: bool) -> None:
    value = fill(schema, SUPPLY, strict=strict)

    assert value is MISSING or json.dumps(value)
