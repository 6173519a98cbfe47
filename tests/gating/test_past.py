"""Access rules asked about rows of the log, where names are digests: exactly, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from crew_moe.catalog import load_policy
from crew_moe.domain.digest import digest
from crew_moe.domain.task import Risk, TaskType
from crew_moe.gating.past import Names, PastAccess, Unknowable
from crew_moe.strategies import STRATEGIES
from tests.gating.ruled import PERMIT_ALL, REGISTRY, written

KEY: Final = b"k"
NO_OPENAI: Final = {"name": "no openai", "forbid": {"providers": ["openai"]}}


def row(**names: str) -> dict[str, Any]:
    """A row of the log, as far as rules are concerned."""
    return {"text_digest": "ab", "identity": {field: digest(name, key=KEY).hex() for field, name in names.items()}}


def past(folder: Path, *, lasting: bool = True) -> PastAccess:
    policy = load_policy(folder, REGISTRY, STRATEGIES)
    return PastAccess(policy, REGISTRY, Names(key=KEY, lasting=lasting))


def barred(access: PastAccess, asked: dict[str, Any], task_type: TaskType = TaskType.PLANNING) -> bool:
    """Whether gpt-4o is forbidden to whoever asked."""
    return bool(access.demands(asked, risk=Risk.LOW, residency=None, task_type=task_type).rules_against("gpt-4o"))


@pytest.mark.parametrize("field", ["tenant", "user", "channel"])
def test_names_are_found_by_their_digests(field: str, tmp_path: Path) -> None:
    access = past(written(tmp_path, {**NO_OPENAI, "who": {f"{field}s": ["one", "two"]}}))

    assert barred(access, row(**{field: "two"}))
    assert not barred(access, row(**{field: "three"}))
    assert not barred(access, row())


def test_key_of_one_process_knows_those_it_finds_and_no_others(tmp_path: Path) -> None:
    access = past(written(tmp_path, {**NO_OPENAI, "who": {"tenants": ["one"]}}), lasting=False)

    assert barred(access, row(tenant="one"))
    assert not barred(access, row())
    with pytest.raises(Unknowable):
        barred(access, row(tenant="three"))


def test_row_of_a_batch_tells_nothing_of_who_asked(tmp_path: Path) -> None:
    access = past(written(tmp_path, {**NO_OPENAI, "who": {"tenants": ["one"]}}))

    with pytest.raises(Unknowable):
        barred(access, {"text_digest": "", "identity": {}})


def test_rules_about_the_work_alone_are_always_known(tmp_path: Path) -> None:
    access = past(written(tmp_path, {**NO_OPENAI, "when": {"task_types": ["planning"]}}), lasting=False)

    assert barred(access, row(tenant="three"))
    assert not barred(access, row(), TaskType.ANALYSIS)


def test_cedar_policies_about_experts_alone_are_known(tmp_path: Path) -> None:
    forbid = '@id("no")\nforbid (principal, action, resource) when { resource.provider == Provider::"openai" };'

    assert barred(past(written(tmp_path, a=PERMIT_ALL + forbid)), row(tenant="three"))


def test_cedar_policies_about_who_asks_are_not(tmp_path: Path) -> None:
    forbid = '@id("no")\nforbid (principal in Tenant::"one", action, resource);'

    with pytest.raises(Unknowable):
        barred(past(written(tmp_path, a=PERMIT_ALL + forbid)), row())


def test_without_rules_nothing_is_forbidden(tmp_path: Path) -> None:
    assert not barred(past(written(tmp_path), lasting=False), row(tenant="three"))
