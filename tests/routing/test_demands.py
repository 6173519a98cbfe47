"""What access rules, screening and the gate demand of a decision beyond its request."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.access import NO_DEMANDS, Demands
from crew_moe.domain.decision import Decision, Infeasible
from crew_moe.domain.expert import Tier
from crew_moe.domain.request import RoutingRequest
from crew_moe.routing import Board, decide
from crew_moe.routing.batch import decide_batch
from crew_moe.routing.batch_record import row_in_batch
from crew_moe.routing.features import extract
from crew_moe.routing.record import replay, row_of
from tests.routing.asking import IDS, boards, families, requests
from tests.routing.given import NOW, POLICY, REGISTRY, STEADY, board, pin, rules

RULES: Final = st.sampled_from(["one rule", "another rule"])
DEMANDS: Final = st.builds(
    Demands,
    forbidden=st.frozensets(st.tuples(IDS, RULES), max_size=12),
    moderated=st.booleans(),
    local_only=st.booleans(),
    max_tier=st.sampled_from([None, *Tier]),
) | st.just(NO_DEMANDS)


def no(*expert_ids: str, rule: str = "house rule") -> Demands:
    return Demands(forbidden=frozenset((expert_id, rule) for expert_id in expert_ids))


def demanding(demands: Demands, on: Board | None = None, **fields: Any) -> Decision | Infeasible:
    request = RoutingRequest(**{"task_type": "planning", **fields})
    return decide(request, on or board(), decision_id="d-1", now=NOW, new_seed=lambda: 7, demands=demands)


def served(demands: Demands, on: Board | None = None, **fields: Any) -> Decision:
    found = demanding(demands, on, **fields)
    assert isinstance(found, Decision), found
    return found


def test_a_forbidden_expert_is_rejected_by_the_name_of_the_rule() -> None:
    best = served(NO_DEMANDS).expert_id

    found = served(no(best, rule="no premium on Mondays"))

    assert found.expert_id != best
    assert best not in (*found.fallbacks, *(candidate.expert_id for candidate in found.candidates))
    row = next(row for row in found.rejections if row.expert_id == best)
    assert (row.rule, row.detail) == ("access", "forbidden by 'no premium on Mondays'")


def test_all_rules_against_an_expert_are_named() -> None:
    found = served(no("gpt-4o", rule="b").joined(no("gpt-4o", rule="a")))

    assert next(row.detail for row in found.rejections if row.expert_id == "gpt-4o") == "forbidden by 'a' and 'b'"


def test_access_comes_before_the_budget_and_all_that_follows() -> None:
    found = served(no("claude-opus-4"), budget_usd="0.001", min_quality=0.5)

    assert rules(found)["claude-opus-4"] == "access"
    assert rules(found)["gpt-5"] == "budget_usd"


@pytest.mark.parametrize("named", [{"pin": "gpt-5"}, {"pin": "gpt-5", "fallbacks": ["gpt-5"]}])
def test_naming_a_forbidden_expert_does_not_help(named: dict[str, Any]) -> None:
    found = demanding(no("gpt-5"), **named)

    assert isinstance(found, Infeasible)
    assert (found.binding, found.nearest and found.nearest.expert_id) == ("access", "gpt-5")
    assert "forbidden by 'house rule'" in found.message


def test_neither_does_a_pin_that_somebody_set() -> None:
    found = demanding(no("gpt-5"), board(pins=(pin("gpt-5"),)))

    assert isinstance(found, Infeasible)
    assert found.binding == "access"


def test_a_forbidden_expert_neither_joins_a_group_nor_judges_it() -> None:
    free = served(NO_DEMANDS, parallel=True).group
    assert free is not None
    involved = (*free.experts, str(free.judge))

    group = served(no(*involved), parallel=True).group

    assert group is not None
    assert not {*group.experts, group.judge} & {*involved}


def test_where_everybody_is_forbidden_nobody_serves() -> None:
    found = demanding(no(*REGISTRY.by_id))

    assert isinstance(found, Infeasible)
    assert found.binding == "access"


def test_local_only_lets_the_local_experts_in_and_no_other() -> None:
    found = served(Demands(local_only=True), task_type="tool_use", risk="high")

    assert found.expert_id == "local/auto"
    assert rules(found)["gpt-4o"] == "local_only"


def test_a_demanded_moderation_says_that_the_text_needs_it() -> None:
    found = served(Demands(moderated=True))

    row = next(row for row in found.rejections if row.expert_id == "mistral-small-4")
    assert (row.rule, row.detail) == ("moderation", "this text needs a moderated expert")


@pytest.mark.parametrize(
    ("asked", "tiers"),
    [
        ({}, {"fast", "baseline"}),
        ({"tier": "premium"}, {"fast", "baseline"}),
        ({"tier": "baseline"}, {"baseline"}),
        ({"tier": "fast", "max_tier": "premium"}, {"fast", "baseline"}),
        ({"max_tier": "fast"}, {"fast"}),
    ],
)
def test_a_ceiling_that_others_set_lies_over_what_was_asked_for(asked: dict[str, Any], tiers: set[str]) -> None:
    found = served(Demands(max_tier=Tier.BASELINE), **asked)

    assert {candidate.tier for candidate in found.candidates} == tiers
    row = next(row for row in found.rejections if row.expert_id == "gpt-5")
    assert (row.rule, row.detail) == ("tier", "is premium, and baseline is the highest that this call may use")


def test_demands_join_to_the_stricter_of_both() -> None:
    one = Demands(no("o1").forbidden, moderated=True, max_tier=Tier.BASELINE)
    other = Demands(no("gpt-5").forbidden, local_only=True, max_tier=Tier.FAST)

    assert one.joined(other) == other.joined(one) == Demands(no("o1", "gpt-5").forbidden, True, True, Tier.FAST)
    assert one.joined(NO_DEMANDS) == one


def test_the_same_demands_share_a_lane() -> None:
    on = board()

    for _ in range(3):
        served(no("gpt-4o", "o1"), on)
        served(no("o1", "gpt-4o"), on, text="another text")

    assert (len(on.lanes), len(on.alike)) == (1, 1)


@STEADY
@given(requests(), boards(), DEMANDS)
def test_what_is_demanded_is_kept_by_every_decision(request: RoutingRequest, on: Board, demands: Demands) -> None:
    found = decide(request, on, decision_id="d-1", now=NOW, new_seed=lambda: 5, demands=demands)
    if not isinstance(found, Decision):
        return
    group = found.group
    chosen = {found.expert_id, *found.fallbacks, *(group.experts if group else ()), *([group.judge] if group else [])}

    for expert_id in chosen - {None}:
        expert = REGISTRY[str(expert_id)]
        assert not demands.rules_against(expert.expert_id)
        assert expert.is_local or not demands.local_only
        assert expert.moderated or demands.local_only or request.pii == "local_only" or not demands.moderated
        assert demands.max_tier is None or expert.tier.rank <= demands.max_tier.rank


@STEADY
@given(families(), boards(), st.lists(DEMANDS, min_size=1, max_size=3))
def test_a_batch_decides_as_one_by_one(asked: list[RoutingRequest], on: Board, several: list[Demands]) -> None:
    each = [several[number % len(several)] for number in range(len(asked))]

    for demands, wanted in ((each, each), (several[0], [several[0]] * len(asked))):
        found = decide_batch(asked, on, batch_id="b", now=NOW, new_seed=lambda: 5, demands=demands)
        alone = [
            decide(request, on, decision_id="d", now=NOW, new_seed=lambda: 5, demands=one)
            for request, one in zip(asked, wanted, strict=True)
        ]

        assert found.expert_ids == [one.expert_id if isinstance(one, Decision) else None for one in alone]
        assert [one.rejections for one in found] == [one.rejections for one in alone]
        assert found.results.score.tolist() == [one.score if isinstance(one, Decision) else 0.0 for one in alone]


def test_a_batch_needs_one_demand_for_each_request() -> None:
    asked = [RoutingRequest(task_type="planning")] * 3

    with pytest.raises(ValueError, match="zip"):
        decide_batch(asked, board(), batch_id="b", now=NOW, new_seed=lambda: 1, demands=[NO_DEMANDS])


@STEADY
@given(requests(groups=False), boards(), DEMANDS)
def test_a_row_decides_again_bit_for_bit(request: RoutingRequest, on: Board, demands: Demands) -> None:
    found = decide(request, on, decision_id="d-1", now=NOW, new_seed=lambda: 5, demands=demands)
    row = json.loads(json.dumps(row_of(found, b"", (), b""), allow_nan=False))

    again = replay(row, on.policy)

    assert again == ((found.expert_id, found.score, found.propensity) if isinstance(found, Decision) else None)


def test_a_row_holds_what_was_demanded() -> None:
    demands = no("gpt-4o")._replace(max_tier=Tier.BASELINE)

    assert row_of(served(demands), b"", (), b"")["demands"] == {
        "forbidden": {"gpt-4o": ["house rule"]},
        "moderated": False,
        "local_only": False,
        "max_tier": "baseline",
    }
    assert row_of(served(NO_DEMANDS), b"", (), b"")["demands"] is None


def test_a_batch_s_row_holds_it_too() -> None:
    asked = [RoutingRequest(task_type="planning")] * 2
    batch = decide_batch(
        asked, board(), batch_id="b", now=NOW, new_seed=lambda: 1, demands=[no("claude-opus-4"), NO_DEMANDS]
    ).record.row()

    rows = [row_in_batch(batch, number) for number in ("0", "1")]

    assert [row and row["demands"] and row["demands"]["forbidden"] for row in rows] == [
        {"claude-opus-4": ["house rule"]},
        None,
    ]
    assert all(row and replay(row, POLICY) == (row["expert_id"], row["score"], 1.0) for row in rows)


def test_a_row_of_an_earlier_version_is_still_read() -> None:
    found = served(NO_DEMANDS)
    row = row_of(found, b"", (), b"")
    del row["demands"]

    assert replay(row, POLICY) == (found.expert_id, found.score, found.propensity)


def test_a_row_whose_own_demands_forbid_its_expert_decides_nothing() -> None:
    found = served(no("gpt-4o"))
    row = row_of(found, b"", (), b"")
    row["demands"]["forbidden"][found.expert_id] = ["forged"]

    assert replay(row, POLICY) is None


def test_features_that_were_taken_before_are_not_taken_again() -> None:
    request = RoutingRequest(task_type="planning", text="plan the move")
    features = extract(request)._replace(input_tokens=90_000)

    found = decide(request, board(), decision_id="d", now=NOW, new_seed=lambda: 1, features=features)

    assert found.features is features
