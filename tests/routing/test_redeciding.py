"""A logged decision comes out the same under the same policy, and as the engine would have it under another."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.decision import Decision, Infeasible
from crew_moe.domain.policy import Exploration, Policy
from crew_moe.domain.request import RoutingRequest
from crew_moe.routing import Board, decide
from crew_moe.routing.record import identity_of, row_of
from crew_moe.routing.redeciding import Bench, beside, demands_of
from crew_moe.routing.ruling import Ruling
from tests.routing.asking import boards, requests
from tests.routing.given import NOW, OPEN, POLICY, REGISTRY, STEADY, board, decided, record

CHEAP = replace(
    POLICY,
    version="cheap@1",
    weights=replace(POLICY.weights, cost=60.0, quality=5.0),
    thresholds=replace(POLICY.thresholds, tight_budget_usd=Decimal("0.5"), long_context_tokens=50),
    cost=replace(POLICY.cost, overhead_tokens=POLICY.cost.overhead_tokens + 500, spread=0.9),
    risks={},
)
RULED = replace(POLICY, version="ruled@1", strategy="rule")
LUCKY = replace(POLICY, version="lucky@1", exploration=Exploration(rate=0.5))


def logged(request: RoutingRequest, on: Board, seed: int = 7) -> tuple[Decision | Infeasible, dict[str, Any]]:
    """A decision, and its row as a store gives it back."""
    found = decide(request, on, decision_id="d-1", now=NOW, new_seed=lambda: seed)
    row = row_of(found, b"", identity_of(request), b"k", beside(request))
    return found, json.loads(json.dumps(row, allow_nan=False))


def again(row: dict[str, Any], request: RoutingRequest, policy: Policy) -> Decision | Infeasible:
    return Bench.of(REGISTRY, policy).decide(row, demands_of(row), request.tenant)


def told(found: Decision | Infeasible) -> tuple[object, ...]:
    """All that a decision says which its maker can choose."""
    if isinstance(found, Infeasible):
        return found.binding, found.message, found.rejections
    return found.expert_id, found.score, found.propensity, found.estimated_cost_usd, found.fallbacks, found.group


@STEADY
@given(requests(), boards())
def test_same_policy_gives_the_same_decision(request: RoutingRequest, on: Board) -> None:
    found, row = logged(request, on)

    assert told(again(row, request, on.policy)) == told(found)


@STEADY
@given(requests(), boards(), st.sampled_from([CHEAP, RULED]))
def test_another_policy_gives_what_it_would_have_given(request: RoutingRequest, on: Board, policy: Policy) -> None:
    _, row = logged(request, on)
    moment = replace(
        board(policy=policy), snapshot=on.snapshot, live=on.live, without_credentials=on.without_credentials
    )
    seed = row.get("seed")
    fixed = request if seed is None else request.model_copy(update={"seed": seed})
    due = decide(fixed, moment, decision_id="d-1", now=NOW, new_seed=lambda: 7)

    assert told(again(row, request, policy)) == told(due)


def test_text_and_names_are_not_in_the_row() -> None:
    request = RoutingRequest(task_type="planning", text="Moby Dick", tenant="Pequod", user="Ahab", task="whaling")

    _, row = logged(request, board())

    assert not any(word in json.dumps(row) for word in ("Moby", "Pequod", "Ahab", "whaling"))
    assert row["asked"] == {}


def test_only_what_differs_from_the_catalogue_is_kept() -> None:
    _, plain = logged(RoutingRequest(task_type="planning"), board())
    learned = {("gpt-4o", "planning"): record(learned=0.9), ("gpt-5", "analysis"): record(learned=0.1)}
    _, full = logged(
        RoutingRequest(task_type="planning"), board(performance=learned, breakers={"expert:o1": OPEN}, live=True)
    )

    assert plain["scene"] | {"weighing": None} == {
        "pin": None, "live": False, "no_credentials": [], "circuit_open": [], "busy": {}, "provider_share": {},
        "experience": {}, "weighing": None,
    }  # fmt: skip
    assert set(full["scene"]["experience"]) == {"gpt-4o"}
    assert full["scene"]["circuit_open"] == ["o1"]


def test_experience_is_weighed_once() -> None:
    learned = {("gpt-4o", "planning"): record(success_rate=0.2)}
    _, experienced = logged(RoutingRequest(task_type="planning"), board(performance=learned))
    _, fresh = logged(RoutingRequest(task_type="planning"), board())
    bench = Bench.of(REGISTRY, replace(POLICY, thresholds=replace(POLICY.thresholds, history_samples=1.0)))

    assert (bench.weighs_alike(experienced), bench.weighs_alike(fresh)) == (False, True)
    assert Bench.of(REGISTRY, CHEAP).weighs_alike(experienced)


def test_chance_falls_the_same_way_each_time() -> None:
    request = RoutingRequest(task_type="planning")
    _, row = logged(request, board())

    picks = {str(told(again({**row, "decision_id": f"d-{i // 2}"}, request, LUCKY))) for i in range(40)}
    assert 1 < len(picks) <= 20
    assert told(again(row, request, LUCKY)) == told(again(row, request, LUCKY))


def test_usual_request_keeps_nothing_alive_and_tells_its_budget_all_the_same() -> None:
    request = RoutingRequest(task_type="planning", budget_usd="0.0051", requires=["tools"])

    assert beside(request) is None
    assert logged(request, board())[1]["asked"] == {"budget_usd": "0.0051", "requires": ["tools"]}


def test_requests_alike_share_what_they_asked() -> None:
    on = board()
    first, second = (decided(on, min_quality=0.8, budget_usd=budget) for budget in ("0.1", "0.2"))

    assert isinstance(first.basis, Ruling)
    assert isinstance(second.basis, Ruling)
    assert first.basis.asked is second.basis.asked
