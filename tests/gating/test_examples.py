"""Example files: what they may hold, and how a wrong answer is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from crew_moe.errors import ConfigError
from crew_moe.gating.access import AccessControl
from crew_moe.gating.examples import differences, load_examples
from tests.gating.ruled import EVERYBODY, REGISTRY, control, written


@pytest.fixture
def access(tmp_path: Path) -> AccessControl:
    """Forbids o1 to all but leads, by a rule called `it`."""
    return control(written(tmp_path, {"name": "it", "forbid": {"ids": ["o1"]}, "unless": [{"roles": ["lead"]}]}))


def examples(folder: Path, *documents: Any) -> Path:
    file = folder / "examples.yaml"
    file.write_text(yaml.safe_dump(list(documents)), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("expect", "told"),
    [
        ({"allowed": ["gpt-4o"], "forbidden": ["o1"], "forbidden_by": "it"}, []),
        ({"only": sorted(EVERYBODY - {"o1"})}, []),
        ({"allowed": ["o1"]}, ["o1 is forbidden by 'it', not allowed"]),
        ({"forbidden": ["gpt-4o"]}, ["gpt-4o is allowed, not forbidden"]),
        ({"forbidden": ["o1"], "forbidden_by": "another"}, ["o1 is forbidden by 'it', not forbidden by 'another'"]),
        ({"only": sorted(EVERYBODY - {"gpt-5", "o1"})}, ["gpt-5 is allowed, not forbidden"]),
        ({"only": sorted(EVERYBODY)}, ["o1 is forbidden by 'it', not allowed"]),
    ],
)
def test_every_expert_that_is_judged_otherwise_is_told(
    access: AccessControl, tmp_path: Path, expect: dict[str, Any], told: list[str]
) -> None:
    (example,) = load_examples(examples(tmp_path, {"name": "x", "expect": expect}), REGISTRY)

    assert [str(difference) for difference in differences(example, access, REGISTRY)] == told


def test_a_principal_takes_the_place_of_what_the_request_says(access: AccessControl, tmp_path: Path) -> None:
    lead = {"name": "x", "principal": {"roles": ["lead"], "user": "ada"}, "expect": {"allowed": ["o1"]}}
    (example,) = load_examples(examples(tmp_path, {**lead, "request": {"user": "eve"}}), REGISTRY)

    assert example.principal.subject == "ada"
    assert differences(example, access, REGISTRY) == ()


@pytest.mark.parametrize(
    ("document", "key", "says"),
    [
        ({"expect": {"allowed": []}}, "0", "field 'name' is required"),
        ({"name": "x"}, "0", "field 'expect' is required"),
        ({"name": "x", "expect": {}}, "0.expect", "expects nothing"),
        ({"name": "x", "expect": {"alowed": []}}, "0.expect", "did you mean 'allowed'?"),
        ({"name": "x", "expect": {"allowed": ["gpt-4o-mni"]}}, "0.expect.allowed", "did you mean 'gpt-4o-mini'?"),
        ({"name": "x", "expect": {"only": ["o2"]}}, "0.expect.only", "unknown expert 'o2'"),
        ({"name": "x", "expect": {"allowed": ["o1"], "forbidden_by": "it"}}, "0.expect", "needs experts"),
        ({"name": "x", "principal": {"role": ["a"]}, "expect": {"only": []}}, "0.principal", "did you mean 'roles'?"),
        ({"name": "x", "request": {"rsk": "low"}, "expect": {"only": []}}, "0.request", "did you mean 'risk'?"),
        ({"name": "x", "request": {"risk": "hgh"}, "expect": {"only": []}}, "0.request.risk", "did you mean 'high'?"),
        ("x", "0", "must be a mapping"),
    ],
)
def test_a_mistake_names_file_and_key(tmp_path: Path, document: Any, key: str, says: str) -> None:
    file = examples(tmp_path, document)

    with pytest.raises(ConfigError) as caught:
        load_examples(file, REGISTRY)

    assert (caught.value.file, caught.value.key) == (str(file), key)
    assert says in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "name: x", "- [", "a"])
def test_a_file_that_is_no_list_of_examples_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "examples.yaml").write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError, match=r"examples\.yaml"):
        load_examples(tmp_path / "examples.yaml", REGISTRY)
