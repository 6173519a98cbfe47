"""Candidate policies held against decisions of real routers: what would change, and what can't be said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crew_moe import Router, RoutingRequest, simulation
from crew_moe.catalog.policy import read_policy
from crew_moe.domain.policy import Policy
from crew_moe.domain.principal import Principal
from crew_moe.domain.screening import Concern
from crew_moe.errors import ConfigError
from crew_moe.execution.screened import Stop
from crew_moe.gating.past import Names
from crew_moe.simulation import PolicyTrial, Reason, newest, simulate
from crew_moe.strategies import STRATEGIES
from tests.router.given import decided, refused, report
from tests.router.given import router as made
from tests.routing.asking import requests
from tests.routing.given import EXPLORING, STEADY

NO_CLAUDE: Final = {"access": [{"name": "no claude", "forbid": {"providers": ["anthropic"]}}]}
CHEAP: Final = {"weights": {"cost": 90, "quality": 5}}


@pytest.fixture
def router() -> Iterator[Router]:
    with made() as opened:
        yield opened


def candidate(on: Router, document: Any) -> Policy:
    return read_policy(document, on.registry, STRATEGIES, cedar=on.policy.cedar)


def trial(on: Router, document: Any = None, *, last: int = 1_000, lasting: bool = True, **chosen: Any) -> PolicyTrial:
    """All of the router's decisions under a document; without one, under its own policy."""
    policy = on.policy if document is None else candidate(on, document)
    rows = newest(on.log, last, **chosen)
    names = Names(key=on.log_key, lasting=lasting)
    return simulate(rows, policy, current=on.policy, registry=on.registry, names=names)


def reasons(found: PolicyTrial) -> dict[Reason, int]:
    return {one.reason: one.count for one in found.not_decidable}


@settings(STEADY, max_examples=40)
@given(st.lists(requests(), min_size=1, max_size=6))
def test_unchanged_policy_changes_nothing(asked: list[RoutingRequest]) -> None:
    with made() as router:
        for number, request in enumerate(asked):
            found = router.decide(request)
            if found.ok and not number % 2:
                report(router, "gpt-4o", success=False)
        told = trial(router)

    assert (told.changed, told.not_decidable) == (0, ())
    assert told.infeasible_before == told.infeasible_after
    assert told.expected_usd_before == told.expected_usd_after
    assert all(move.before == move.after for move in told.moves)


def test_costs_are_those_that_were_predicted(router: Router) -> None:
    found = [decided(router, task_type=kind, text="x" * 400) for kind in ("planning", "analysis", "reasoning")]

    told = trial(router)

    due = sum(one.estimated_cost_usd for one in found)
    assert told.expected_usd_before == told.expected_usd_after == due
    assert (told.seen, told.decided, told.logged_under) == (3, 3, {router.policy.version: 3})


def test_forbidden_experts_go_to_others(router: Router) -> None:
    for kind in ("code_review", "testing", "planning", "analysis"):
        decided(router, task_type=kind)
    before = {move.before for move in trial(router).moves}

    told = trial(router, NO_CLAUDE)

    assert any(str(expert).startswith("claude") for expert in before)
    assert not any(str(move.after).startswith("claude") for move in told.moves)
    moved = [move for move in told.moves if move.before != move.after]
    assert all(str(move.before).startswith("claude") for move in moved)
    assert told.changed == sum(move.count for move in moved) > 0
    assert told.share_changed == told.changed / 4
    assert told.examples[0].before_usd != told.examples[0].after_usd


def test_weight_of_money_makes_it_cheaper(router: Router) -> None:
    for kind in ("code_review", "testing", "planning", "analysis"):
        decided(router, task_type=kind, text="x" * 2_000)

    told = trial(router, CHEAP)

    assert told.changed > 0
    assert told.expected_usd_after < told.expected_usd_before
    assert all((one.after_usd or 0) <= (one.before_usd or 0) for one in told.examples)


def test_candidate_says_what_the_router_would_have_said(router: Router, tmp_path: Path) -> None:
    asked = [RoutingRequest(task_type=kind, min_quality=0.8) for kind in ("planning", "analysis", "code_generation")]
    for request in asked:
        router.decide(request)
    (tmp_path / "policy.yaml").write_text(json.dumps({**CHEAP, **NO_CLAUDE}), encoding="utf-8")
    with Router.from_config(tmp_path, state=":memory:") as other:
        due = [decided(other, **request.model_dump(exclude_unset=True)).expert_id for request in asked]
        told = trial(router, {**CHEAP, **NO_CLAUDE})

    assert told.candidate == other.policy.version
    assert sorted(str(move.after) for move in told.moves for _ in range(move.count)) == sorted(due)


def test_nobody_may_be_left_and_somebody_may_come(router: Router) -> None:
    decided(router, pin="claude-sonnet-4")
    refused(router, pin="gpt-4o", risk="high", min_quality=0.99)

    told = trial(router, NO_CLAUDE)

    assert (told.infeasible_before, told.infeasible_after, told.changed) == (1, 2, 1)
    assert told.examples[0].after is None
    assert told.examples[0].after_usd is None


def test_rule_that_kept_everybody_out_may_fall(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("access: [{name: none, forbid: {}}]", encoding="utf-8")
    with Router.from_config(tmp_path, state=":memory:") as router:
        refused(router)
        told = trial(router, {})

    assert (told.infeasible_before, told.infeasible_after) == (1, 0)
    assert told.examples[0].before is None


def test_tenants_of_rules_are_known_by_their_digests(router: Router) -> None:
    rule = {"name": "acme", "forbid": {"providers": ["anthropic"]}, "who": {"tenants": ["acme"]}}
    for tenant in ("acme", "else", None):
        decided(router, task_type="code_review", tenant=tenant)

    told = trial(router, {"access": [rule]})

    assert (told.decided, told.changed) == (3, 1)
    (change,) = told.examples
    assert router.explain(change.decision_id).row["identity"] != {}
    assert reasons(trial(router, {"access": [rule]}, lasting=False)) == {Reason.WHO_ASKED: 1}


def test_rule_strategy_knows_its_tenants(router: Router) -> None:
    rule = {"name": "theirs", "when": {"tenants": ["acme"]}, "use": ["command-r"]}
    for tenant in ("acme", "else"):
        decided(router, tenant=tenant)

    told = trial(router, {"strategy": "rule", "rules": [rule]})

    assert [change.after for change in told.examples] == ["command-r"]


@pytest.mark.parametrize(
    "who", [{"who": {"roles": ["lead"]}}, {"who": {"workspaces": ["w"]}}, {"unless": [{"tenants": ["acme"]}]}]
)
def test_rules_about_what_is_not_kept_are_not_guessed(who: dict[str, Any], router: Router) -> None:
    decided(router)

    told = trial(router, {"access": [{"name": "some", "forbid": {"providers": ["openai"]}, **who}]})

    assert reasons(told) == {Reason.WHO_ASKED: 1}
    assert told.decided == 0 == told.share_changed


def test_rules_that_stay_as_they_are_hold_as_they_held(tmp_path: Path) -> None:
    rule = {"name": "some", "forbid": {"providers": ["anthropic"]}, "unless": [{"roles": ["lead"]}]}
    (tmp_path / "policy.yaml").write_text(json.dumps({"access": [rule]}), encoding="utf-8")
    with Router.from_config(tmp_path, state=":memory:") as router:
        for roles in ({"lead"}, set[str]()):
            request = RoutingRequest(task_type="code_review")
            router.decide(request, principal=Principal(subject="ann", roles=frozenset(roles)))
        told = trial(router, {"access": [rule], "limits": {"fallbacks": 1}})

    assert (told.decided, told.changed, len(told.moves)) == (2, 0, 2)
    assert told.left_alone == ("limits",)


def test_what_it_can_not_say_is_counted_by_reason(router: Router) -> None:
    router.refuse(RoutingRequest(text="x"), Stop(concern=Concern.PII, reason="no"))
    router.decide_batch([RoutingRequest(task_type="planning"), RoutingRequest(text="why")])
    report(router, "gpt-4o", success=True)
    router.health()  # takes up what was reported
    decided(router)

    told = trial(router, {"thresholds": {"learning_prior": 0.1}})

    assert reasons(told) == {Reason.SCREENED: 1, Reason.BATCH: 1, Reason.EXPERIENCE: 1}
    assert told.seen == told.decided + 3
    assert all(len(one.decision_ids) == one.count for one in told.not_decidable)


def test_row_of_an_earlier_version_is_too_old(router: Router) -> None:
    decided(router)
    (row,) = newest(router.log, 1)
    old = {name: value for name, value in row.items() if name not in ("asked", "scene")}

    told = simulate(
        [old], router.policy, current=router.policy, registry=router.registry, names=Names(key=b"", lasting=True)
    )

    assert reasons(told) == {Reason.TOO_OLD: 1}


def test_another_catalogue_is_another_question(router: Router) -> None:
    decided(router)
    (row,) = newest(router.log, 1)

    told = simulate(
        [{**row, "registry_digest": "0"}],
        router.policy,
        current=router.policy,
        registry=router.registry,
        names=Names(key=b"", lasting=True),
    )

    assert reasons(told) == {Reason.CATALOGUE: 1}


def test_profile_that_the_candidate_lacks_is_a_reason(router: Router) -> None:
    decided(router, profile="careful-review")
    without = replace(router.policy, profiles={}, version="bare@1")

    told = simulate(
        newest(router.log, 1),
        without,
        current=router.policy,
        registry=router.registry,
        names=Names(key=b"", lasting=True),
    )

    assert reasons(told) == {Reason.NAMES: 1}


def test_newest_come_first_and_among_other_rows(router: Router) -> None:
    ids = []
    for _ in range(5):
        ids.append(decided(router).decision_id)
        report(router, "gpt-4o", success=True, times=3)
    planned = decided(router, task_type="analysis").decision_id

    assert newest(router.log, 1)[0]["decision_id"] == planned
    rows = newest(router.log, 100, task_type="planning")
    assert [row["decision_id"] for row in rows][-1] == ids[0]
    assert len(rows) == 20
    assert newest(router.log, 3, sees=lambda _: False) == ()


def test_log_is_looked_through_so_far_and_no_further(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    first = decided(router, task_type="analysis").decision_id
    for _ in range(8):
        decided(router)
    looking = partial(newest, router.log, 1, task_type="analysis")

    assert [row["decision_id"] for row in looking()] == [first]
    monkeypatch.setattr(simulation, "MAX_ROWS", 8)
    assert looking() == ()


def test_decisions_of_a_batch_count_one_by_one(router: Router) -> None:
    router.decide_batch([RoutingRequest(task_type="planning")] * 3 + [RoutingRequest(task_type="analysis")])

    assert len(newest(router.log, 100, task_type="planning")) == 3
    assert [row["decision_id"].rpartition(".")[2] for row in newest(router.log, 2)] == ["3", "2"]


def test_result_is_json_ready(router: Router) -> None:
    decided(router, task_type="code_review")
    refused(router, min_quality=1.0)

    told = json.loads(json.dumps(trial(router, NO_CLAUDE).as_dict()))

    assert (told["seen"], told["changed"], told["infeasible_before"]) == (2, 1, 1)
    assert Decimal(told["expected_usd_before"]) > 0
    assert told["examples"][0]["before"].startswith("claude")


def test_exploring_candidate_draws_the_same_way_each_time(router: Router) -> None:
    for _ in range(30):
        decided(router)
    exploring = {"exploration": {"rate": 0.5}}

    assert EXPLORING.exploration.rate
    assert trial(router, exploring).moves == trial(router, exploring).moves
    assert 0 < trial(router, exploring).changed < 30


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("weights: {qualty: 3}", "the candidate: weights: unknown field 'qualty'; did you mean 'quality'"),
        ("strategy: scor", "did you mean 'score'"),
        ("rules: [{name: a, when: {}, use: [gpt-9]}]", "rules.0.use: unknown expert 'gpt-9'"),
        ("a: [", "the candidate: line 1"),
        ("- a", "the candidate: the top of the file must be a mapping"),
    ],
)
def test_wrong_candidate_is_told_by_its_key(document: str, told: str, router: Router) -> None:
    with pytest.raises(ConfigError) as caught:
        candidate(router, document)

    assert told in str(caught.value)
