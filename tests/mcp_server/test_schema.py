"""Schemas lose what no client needs, and nothing else."""

from __future__ import annotations

from typing import Annotated, Literal

import jsonschema
import pytest
from pydantic import BaseModel, Field

from crew_moe.domain.request import RoutingRequest, Usd
from mcp_server.schema import input_schema, output_schema
from mcp_server.tools import TOOLS


class Inner(BaseModel):
    """A part."""

    title: str
    share: Annotated[float, Field(ge=0.25, le=0.75)] | None = None


class Whole(BaseModel):
    """A docstring that no client needs."""

    kind: Literal["a", "b"] | None = None
    amount: Usd | None = None
    count: Annotated[int, Field(ge=0, le=100_000_000)] = 3
    inner: Inner | None = None


def test_input_keeps_types_words_and_telling_bounds() -> None:
    assert input_schema(Whole, {"count": "How many."}) == {
        "type": "object",
        "properties": {
            "kind": {"type": "string", "enum": ["a", "b"]},
            "amount": {"type": ["number", "string"]},
            "count": {"type": "integer", "description": "How many."},
            "inner": {
                "type": "object",
                "properties": {
                    "title": {"type": "string"},
                    "share": {"type": "number", "minimum": 0.25, "maximum": 0.75},
                },
                "required": ["title"],
            },
        },
    }


def test_hidden_fields_are_not_shown() -> None:
    assert list(input_schema(Whole, {}, {"kind", "amount", "inner"})["properties"]) == ["count"]


def test_output_says_what_may_be_null() -> None:
    shown = output_schema(Inner)["properties"]

    assert shown == {
        "title": {"type": "string"},
        "share": {"type": ["number", "null"], "minimum": 0.25, "maximum": 0.75},
    }


@pytest.mark.parametrize("row", TOOLS, ids=lambda row: row.name)
def test_schema_is_one_and_needs_nothing_else(row: object) -> None:
    for schema in (input_schema(row.takes, row.notes, row.hidden), output_schema(row.gives)):  # type: ignore[attr-defined]
        jsonschema.Draft202012Validator.check_schema(schema)
        assert "$ref" not in str(schema)


def test_shown_fields_of_a_request_are_its_own() -> None:
    shown = input_schema(RoutingRequest, {})["properties"]

    assert shown.keys() == RoutingRequest.model_fields.keys()
