"""The schema that editors get agrees with what the gate is built from."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import yaml

from crew_moe.gating import checks
from crew_moe.gating.catalogue import CHECKS
from crew_moe.gating.config import build_gate
from crew_moe.gating.schema import gate_schema
from tests.gating.test_config import WHOLE


def valid(section: dict[str, Any]) -> bool:
    return jsonschema.Draft202012Validator(gate_schema()).is_valid(section)


def test_schema_is_a_schema_that_stands_alone() -> None:
    jsonschema.Draft202012Validator.check_schema(gate_schema())

    assert "$ref" not in str(gate_schema())


def test_whole_section_is_valid_for_editors_too() -> None:
    section = yaml.safe_load(WHOLE)
    build_gate(section)

    assert valid(section)


@pytest.mark.parametrize(
    "section",
    [
        {"abov": "fast"},
        {"above": "fats"},
        {"on_hold_timeout": "wait"},
        {"checks": [3]},
        {"checks": [{"cooldown": {"rate": 5, "per": 60}}]},
        {"checks": [{"has_role": {"role": "x", "otherwise": "denied"}}]},
        {"checks": [{"has_role": {"role": "x", "otherwise": {"downgrade": "premum"}}}]},
        {"checks": [{"needs_approval": {"otherwise": "deny"}}]},
    ],
)
def test_editor_marks_what_would_be_refused(section: dict[str, Any]) -> None:
    assert not valid(section)


def test_every_check_is_described() -> None:
    named = gate_schema()["properties"]["checks"]["items"]["anyOf"][1]["properties"]
    ours = [named[name] for name, made in CHECKS.items() if getattr(made, "__module__", "") == checks.__name__]

    assert len(ours) == 12
    assert all(one.get("description") or one["anyOf"][0]["description"] for one in ours)
