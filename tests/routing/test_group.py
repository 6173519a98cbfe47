"""Groups of experts and their judge."""

from __future__ import annotations

from typing import Any

import pytest

from crew_moe.domain.decision import Group
from crew_moe.domain.request import Parallel
from tests.routing.given import board, decided, expert, market

THREE = ("claude-opus-4", "o1", "claude-sonnet-4")


def group(**asked: Any) -> Group:
    found = decided(**{"task_type": "security_audit", "parallel": True, **asked}).group
    assert found is not None
    return found


def test_members_are_the_best_of_different_providers() -> None:
    found = group()

    assert found.experts[:2] == ("claude-opus-4", "o1")
    assert (len(found.experts), found.consensus) == (3, "judge")


def test_the_quality_floor_binds_members_not_the_judge() -> None:
    found = group(min_quality=0.95)

    assert (found.experts, found.judge) == (THREE, "gpt-5")


def test_without_a_judge_none_is_named() -> None:
    found = group(parallel=Parallel(experts=2, consensus="voting"))

    assert (len(found.experts), found.judge, found.consensus) == (2, None, "voting")


def test_the_first_member_is_the_decision_s_expert() -> None:
    found = decided(task_type="security_audit", parallel=True, min_quality=0.95)

    assert (found.expert_id, found.propensity) == (THREE[0], 1.0)
    assert "group claude-opus-4, o1, claude-sonnet-4 with judge gpt-5" in found.rationale
    assert found.as_dict()["group"] == {"experts": list(THREE), "judge": "gpt-5", "consensus": "judge"}


def test_a_budget_leaves_the_dearest_out_first() -> None:
    assert group(budget_usd="0.2").experts[:2] == ("claude-opus-4", "o1")
    cheaper = group(budget_usd="0.03")
    assert len(cheaper.experts) == 3
    assert {"claude-opus-4", "o1"}.isdisjoint({*cheaper.experts, cheaper.judge})


def test_a_group_that_can_not_be_paid_is_none() -> None:
    assert decided(task_type="security_audit", parallel=True, budget_usd="0.05", min_quality=0.97).group is None


def test_one_eligible_expert_is_no_group() -> None:
    assert decided(board(registry=market(expert())), parallel=True).group is None


@pytest.mark.parametrize(
    ("asked", "formed"),
    [
        ({"task_type": "planning"}, True),
        ({"task_type": "testing"}, False),
        ({"task_type": "testing", "critical": True}, True),
        ({"task_type": "testing", "min_quality": 0.9, "budget_usd": "0.05"}, True),
        ({"task_type": "testing", "min_quality": 0.9}, False),
        ({"task_type": "testing", "min_quality": 0.89, "budget_usd": "1"}, False),
    ],
)
def test_auto_forms_a_group_on_its_triggers_alone(asked: dict[str, Any], formed: bool) -> None:
    assert (decided(parallel="auto", **asked).group is not None) is formed


def test_triggers_count_under_auto_alone() -> None:
    assert decided(critical=True).group is None
    assert decided(critical=True, parallel=False).group is None


def test_a_last_resort_joins_no_group() -> None:
    last = expert("last", named_only=True, quality=1.0)
    on = board(registry=market(expert("a"), expert("b"), last))

    assert group_of(on, fallbacks=["last"]) == {"a", "b"}


def group_of(on: Any, **asked: Any) -> set[str]:
    found = decided(on, parallel={"experts": 3, "consensus": "voting"}, **asked).group
    return set(found.experts) if found else set()
