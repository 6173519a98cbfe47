"""`access:` in policy.yaml and the Cedar files beside it: what they may hold, and that the version follows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crew_moe.catalog.access import read_policies
from crew_moe.domain.access import When, Which, Who
from crew_moe.domain.expert import Tier
from crew_moe.domain.task import Risk, TaskType
from tests.catalog.writing import folder, load, mistake

FULL: dict[str, Any] = {
    "name": "full",
    "who": {"tenants": ["a"], "roles": ["b"], "channels": ["c"], "workspaces": ["d"], "users": ["e"]},
    "when": {"risks": ["high"], "residencies": ["eu"], "task_types": ["testing"]},
    "only": {
        "ids": ["o1"], "providers": ["openai"], "tiers": ["fast"], "regions": ["us"],
        "self_hosted": False, "moderated": True,
    },
    "unless": [{"roles": ["f"]}],
}  # fmt: skip


def cedar(path: Path, **files: str) -> Path:
    (path / "policies").mkdir(exist_ok=True)
    for name, text in files.items():
        (path / "policies" / f"{name}.cedar").write_text(text, encoding="utf-8")
    return path


def test_a_rule_is_read_with_all_its_conditions(tmp_path: Path) -> None:
    (rule,) = load(folder(tmp_path, policy={"access": [FULL]}))[1].access

    assert rule.who == Who(
        tenants=frozenset("a"), roles=frozenset("b"), channels=frozenset("c"), workspaces=frozenset("d"),
        users=frozenset("e"),
    )  # fmt: skip
    assert rule.when == When(
        risks=frozenset({Risk.HIGH}), residencies=frozenset({"eu"}), task_types=frozenset({TaskType.TESTING})
    )
    assert rule.only == Which(
        ids=frozenset({"o1"}), providers=frozenset({"openai"}), tiers=frozenset({Tier.FAST}), regions=frozenset({"us"}),
        self_hosted=False, moderated=True,
    )  # fmt: skip
    assert (rule.name, rule.forbid, rule.unless) == ("full", None, (Who(roles=frozenset("f")),))


@pytest.mark.parametrize(
    ("rule", "key", "says"),
    [
        ({"forbid": {}}, "access.0", "field 'name' is required"),
        ({"name": "x"}, "access.0", "either 'forbid' or 'only'"),
        ({"name": "x", "forbid": {}, "only": {"tiers": ["fast"]}}, "access.0", "either 'forbid' or 'only'"),
        ({"name": "x", "only": {}}, "access.0", "would forbid nobody"),
        ({"name": "x", "forbid": {}, "unless": [{}]}, "access.0", "would hold for nobody"),
        ({"name": "x", "forbid": {}, "unless": {"roles": ["a"]}}, "access.0.unless", "must be a list"),
        ({"name": "x", "forbidd": {}}, "access.0", "did you mean 'forbid'?"),
        ({"name": "x", "forbid": {"tier": ["fast"]}}, "access.0.forbid", "did you mean 'tiers'?"),
        ({"name": "x", "forbid": {"tiers": ["premum"]}}, "access.0.forbid.tiers.0", "did you mean 'premium'?"),
        ({"name": "x", "forbid": {"tiers": []}}, "access.0.forbid.tiers", "at least 1 item"),
        ({"name": "x", "forbid": {"self_hosted": "maybe"}}, "access.0.forbid.self_hosted", "true or false"),
        ({"name": "x", "forbid": {"ids": ["gpt-4o-mni"]}}, "access.0.forbid.ids", "did you mean 'gpt-4o-mini'?"),
        ({"name": "x", "only": {"providers": ["opnai"]}}, "access.0.only.providers", "did you mean 'openai'?"),
        ({"name": "x", "forbid": {}, "who": {"rols": ["a"]}}, "access.0.who", "did you mean 'roles'?"),
        ({"name": "x", "forbid": {}, "who": {"roles": "lead"}}, "access.0.who.roles", "must be a list"),
        ({"name": "x", "forbid": {}, "who": {"roles": [""]}}, "access.0.who.roles.0", "at least 1 character"),
        ({"name": "x", "forbid": {}, "when": {"risks": ["hgh"]}}, "access.0.when.risks.0", "did you mean 'high'?"),
        ({"name": "x", "forbid": {}, "when": {"task_types": ["test"]}}, "access.0.when.task_types.0", "'testing'"),
    ],
)  # fmt: skip
def test_a_mistake_names_file_key_and_what_is_meant(tmp_path: Path, rule: Any, key: str, says: str) -> None:
    error = mistake(folder(tmp_path, policy={"access": [rule]}))

    assert (error.file, error.key) == (str(tmp_path / "policy.yaml"), key)
    assert says in str(error)


def test_two_rules_of_one_name_are_refused(tmp_path: Path) -> None:
    error = mistake(folder(tmp_path, policy={"access": [{"name": "x", "forbid": {}}] * 2}))

    assert (error.key, error.what) == ("access.1.name", "two rules are called 'x'")


def test_the_version_follows_rules_and_cedar_files(tmp_path: Path) -> None:
    versions = [load(tmp_path)[1].version]
    versions.append(load(folder(tmp_path, policy={"access": [FULL]}))[1].version)
    versions.append(load(cedar(tmp_path, own="forbid (principal, action, resource);"))[1].version)
    versions.append(load(cedar(tmp_path, own="forbid (principal, action, resource) ;"))[1].version)
    versions.append(load(cedar(tmp_path, second=""))[1].version)

    assert len(set(versions)) == 5
    assert load(tmp_path)[1].version == versions[-1]


def test_the_version_does_not_depend_on_where_the_folder_lies(tmp_path: Path) -> None:
    places = [tmp_path / "a", tmp_path / "b"]
    for place in places:
        place.mkdir()

    versions = {load(cedar(place, own="forbid (principal, action, resource);"))[1].version for place in places}

    assert len(versions) == 1


def test_a_file_of_the_same_name_takes_the_packaged_one_s_place(tmp_path: Path) -> None:
    assert [text.name for text in read_policies(None)] == ["default.cedar"]
    assert [text.name for text in read_policies(cedar(tmp_path, own=""))] == ["default.cedar", "own.cedar"]
    assert [text.text for text in read_policies(cedar(tmp_path, default="// mine"))] == ["// mine", ""]


def test_text_that_is_none_is_told(tmp_path: Path) -> None:
    cedar(tmp_path)
    (tmp_path / "policies" / "own.cedar").write_bytes(b"\xff\xfe")

    assert "is not UTF-8 text" in str(mistake(tmp_path))
