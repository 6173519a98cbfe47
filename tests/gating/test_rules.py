"""Access rules in YAML: whom each keeps from what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crew_moe.domain.principal import Principal
from crew_moe.domain.task import Risk, TaskType
from tests.gating.ruled import EVERYBODY, REGISTRY, control, forbidden, who, written

PREMIUM = {expert.expert_id for expert in REGISTRY if expert.tier == "premium"}
LOCAL = {expert.expert_id for expert in REGISTRY if expert.is_local}
EUROPEAN = {expert.expert_id for expert in REGISTRY if "eu" in expert.regions}
MODERATED = {expert.expert_id for expert in REGISTRY if expert.moderated}


def barred(folder: Path, rule: dict[str, Any], principal: Principal | None = None, **asked: Any) -> set[str]:
    access = control(written(folder, {"name": "it", **rule}))
    return set(forbidden(access, principal or who(), **asked))


@pytest.mark.parametrize(
    ("experts", "wanted"),
    [
        ({"forbid": {}}, EVERYBODY),
        ({"forbid": {"tiers": ["premium"]}}, PREMIUM),
        ({"forbid": {"ids": ["o1", "gpt-5"]}}, {"o1", "gpt-5"}),
        ({"forbid": {"providers": ["openai"], "tiers": ["premium"]}}, {"o1", "gpt-5"}),
        ({"forbid": {"self_hosted": True}}, LOCAL),
        ({"forbid": {"regions": ["eu"]}}, EUROPEAN),
        ({"forbid": {"regions": ["moon"]}}, set()),
        ({"only": {"self_hosted": True}}, EVERYBODY - LOCAL),
        ({"only": {"moderated": True}}, EVERYBODY - MODERATED),
        ({"only": {"regions": ["eu"]}}, EVERYBODY - EUROPEAN - LOCAL),
        ({"only": {"regions": ["moon"]}}, EVERYBODY - LOCAL),
        ({"only": {"ids": ["o1"]}}, EVERYBODY - {"o1"}),
    ],
)
def test_a_rule_bars_the_experts_that_it_describes(tmp_path: Path, experts: dict[str, Any], wanted: set[str]) -> None:
    assert barred(tmp_path, experts) == wanted


@pytest.mark.parametrize(
    ("conditions", "principal", "holds"),
    [
        ({"tenants": ["acme", "globex"]}, who(tenant="acme"), True),
        ({"tenants": ["acme"]}, who(tenant="Acme"), False),
        ({"tenants": ["acme"]}, who(), False),
        ({"roles": ["guest"]}, who("ada", "lead", "guest"), True),
        ({"roles": ["guest"]}, who("guest"), False),
        ({"channels": ["lobby"]}, who(channel="lobby"), True),
        ({"workspaces": ["guild"]}, who(workspace="guild"), True),
        ({"users": ["ada"]}, who("ada"), True),
        ({"users": ["ada"]}, who("grace"), False),
        ({"tenants": ["acme"], "channels": ["lobby"]}, who(tenant="acme", channel="attic"), False),
        ({"tenants": ["acme"], "channels": ["lobby"]}, who(tenant="acme", channel="lobby"), True),
    ],
)
def test_who_asks_decides_whether_a_rule_holds(
    tmp_path: Path, conditions: dict[str, Any], principal: Principal, holds: bool
) -> None:
    assert bool(barred(tmp_path, {"who": conditions, "forbid": {}}, principal)) is holds
    assert bool(barred(tmp_path, {"unless": [conditions], "forbid": {}}, principal)) is not holds


@pytest.mark.parametrize(
    ("conditions", "asked", "holds"),
    [
        ({"risks": ["medium", "high"]}, {"risk": Risk.HIGH}, True),
        ({"risks": ["medium", "high"]}, {"risk": Risk.LOW}, False),
        ({"residencies": ["eu"]}, {"residency": "eu"}, True),
        ({"residencies": ["eu"]}, {"residency": "us"}, False),
        ({"residencies": ["eu"]}, {}, False),
        ({"task_types": ["testing"]}, {"task_type": TaskType.TESTING}, True),
        ({"task_types": ["testing"]}, {"task_type": TaskType.PLANNING}, False),
        ({"risks": ["high"], "residencies": ["eu"]}, {"risk": Risk.HIGH}, False),
    ],
)
def test_what_is_asked_for_decides_whether_a_rule_holds(
    tmp_path: Path, conditions: dict[str, Any], asked: dict[str, Any], holds: bool
) -> None:
    assert bool(barred(tmp_path, {"when": conditions, "forbid": {}}, **asked)) is holds


def test_any_one_exemption_is_enough(tmp_path: Path) -> None:
    rule = {"forbid": {}, "unless": [{"roles": ["lead"]}, {"tenants": ["acme"]}]}

    assert barred(tmp_path, rule) == EVERYBODY
    assert barred(tmp_path, rule, who("", "lead")) == barred(tmp_path, rule, who(tenant="acme")) == set()


def test_an_exemption_from_one_rule_is_none_from_another(tmp_path: Path) -> None:
    open_to_leads = {"name": "first", "forbid": {"ids": ["o1"]}, "unless": [{"roles": ["lead"]}]}
    closed_to_all = {"name": "second", "forbid": {"providers": ["openai"]}}
    access = control(written(tmp_path, open_to_leads, closed_to_all))

    assert forbidden(access, who("", "lead"))["o1"] == ("second",)
    assert forbidden(access, who())["o1"] == ("first", "second")
