"""JSON Schemas for editors: current, and as strict as the loader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from crew_moe.catalog import packaged_config
from crew_moe.cli.schemas import main, schemas, stale, write_schemas
from crew_moe.documents import read_mapping

FILES = ("experts", "local", "policy")


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schemas()[f"{name}.schema.json"]))


def plain(name: str) -> Any:
    """The packaged file as an editor sees it: dates are strings."""
    return json.loads(json.dumps(read_mapping(packaged_config() / f"{name}.yaml"), default=str))


@pytest.mark.parametrize("name", [*FILES, "routing"])
def test_a_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(json.loads(schemas()[f"{name}.schema.json"]))


def test_the_committed_schemas_are_current() -> None:
    assert stale(packaged_config() / "schemas") == []
    assert main(["--check"]) == 0


@pytest.mark.parametrize("name", FILES)
def test_the_packaged_file_is_valid(name: str) -> None:
    assert [error.message for error in validator(name).iter_errors(plain(name))] == []


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("experts", {"expert": {}}),
        ("experts", {"experts": {"gpt-4o": {"qualty": 1}}}),
        ("experts", {"experts": {"gpt-4o": {"tier": "premum"}}}),
        ("policy", {"weights": {"qualty": 1}}),
        ("policy", {"tasks": {"code_gen": {}}}),
        ("policy", {"rules": [{"name": "all"}]}),
        ("local", {"experts": {"byt5": {"kind": "byt6"}}}),
        ("local", {"batch": {"size": 1}}),
        ("routing", {"task_typ": "testing"}),
        ("routing", {"parallel": "aut"}),
        ("routing", {"budget_usd": -1}),
    ],
)
def test_a_mistake_is_marked(name: str, document: Any) -> None:
    assert list(validator(name).iter_errors(document))


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("experts", {"experts": {"gpt-4o": {"enabled": False}}}),
        ("policy", {"weights": {"quality": 60}}),
        ("policy", {"rules": [{"name": "all", "use": ["gpt-4o"]}]}),
        ("routing", {"tier": "premium", "parallel": {"experts": 3}, "requires": ["tools"], "budget_usd": "0.15"}),
    ],
)
def test_what_a_project_writes_is_valid(name: str, document: Any) -> None:
    assert [error.message for error in validator(name).iter_errors(document)] == []


def test_writing_touches_only_what_changed(tmp_path: Path) -> None:
    assert len(write_schemas(tmp_path / "new")) == 4
    (tmp_path / "new" / "policy.schema.json").write_text("{}")

    assert [path.name for path in write_schemas(tmp_path / "new")] == ["policy.schema.json"]
    assert write_schemas(tmp_path / "new") == []


def test_checking_names_what_is_not_current(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("crew_moe.cli.schemas.packaged_config", lambda: tmp_path)

    assert main(["--check"]) == 1
    assert "routing.schema.json: not current" in capsys.readouterr().out
    assert not (tmp_path / "schemas").exists()
    assert main([]) == 0
    assert main(["--chek"]) == 2
