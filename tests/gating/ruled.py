"""Access rules for tests: written as a policy's file would have them, and asked for a principal."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from crew_moe.catalog import load_policy, load_registry
from crew_moe.domain.principal import Principal
from crew_moe.domain.task import Risk, TaskType
from crew_moe.gating.access import AccessControl, access_control
from crew_moe.strategies import STRATEGIES

REGISTRY: Final = load_registry()
EVERYBODY: Final = frozenset(REGISTRY.by_id)
FIXTURES: Final = Path(__file__).resolve().parents[2] / "fixtures" / "policies"
PERMIT_ALL: Final = "permit (principal, action, resource);\n"


def written(folder: Path, *rules: dict[str, Any], **cedar: str) -> Path:
    """A folder with these rules in its policy.yaml and `NAME=text` as policies/NAME.cedar."""
    (folder / "policy.yaml").write_text(yaml.safe_dump({"access": list(rules)}), encoding="utf-8")
    (folder / "policies").mkdir(exist_ok=True)
    for name, text in cedar.items():
        (folder / "policies" / f"{name}.cedar").write_text(text, encoding="utf-8")
    return folder


def control(folder: Path | None) -> AccessControl:
    """The access rules of a folder, over the packaged catalogue."""
    return access_control(load_policy(folder, REGISTRY, STRATEGIES), REGISTRY)


def who(user: str = "", *roles: str, **parts: str) -> Principal:
    return Principal(subject=user, roles=frozenset(roles), **parts)


def forbidden(
    access: AccessControl,
    principal: Principal,
    *,
    risk: Risk = Risk.LOW,
    residency: str | None = None,
    task_type: TaskType = TaskType.PLANNING,
) -> dict[str, tuple[str, ...]]:
    """The rules against each expert that is forbidden."""
    return dict(access.demands(principal, risk=risk, residency=residency, task_type=task_type).rules)
