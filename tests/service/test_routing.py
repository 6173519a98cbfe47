"""POST /route and /route/batch: our own requests, and the bodies of seed 004."""

from __future__ import annotations

import pytest

from crew_moe.domain.decision import Decision
from crew_moe.domain.request import RoutingRequest
from crew_moe.service.views import BatchView, DecisionView, InfeasibleView
from tests.service.running import Running

ROUTE = "/api/v1/route"
BATCH = "/api/v1/route/batch"
ASKED = {"task_type": "code_generation", "text": "Write an API", "budget_usd": "0.01", "min_quality": 0.85}


def test_route_answers_as_the_router_decides(service: Running) -> None:
    answer = DecisionView.model_validate(service.post(ROUTE, ASKED).raise_for_status().json())

    decided = service.router.decide(RoutingRequest(**ASKED))
    assert isinstance(decided, Decision)
    assert (answer.expert_id, answer.fallbacks) == (decided.expert_id, list(decided.fallbacks))
    assert answer.rationale == decided.rationale
    assert answer.selected_services == [decided.expert_id]


def test_route_explains_when_it_is_asked_to(service: Running) -> None:
    plain = service.post(ROUTE, ASKED).json()
    full = DecisionView.model_validate(service.post(f"{ROUTE}?explain=true", ASKED).json())

    assert "rejections" not in plain
    assert full.factors is not None
    assert {row.rule for row in full.rejections or ()} >= {"min_quality"}


def test_a_request_that_nobody_can_serve_is_answered(service: Running) -> None:
    answer = service.post(ROUTE, {"task_type": "reasoning", "text": "Prove it", "min_quality": 0.999})

    told = InfeasibleView.model_validate(answer.raise_for_status().json())
    assert (told.binding, told.selected_services) == ("min_quality", [])


def test_a_decision_can_be_looked_up(service: Running) -> None:
    decision_id = service.post(ROUTE, ASKED).json()["decision_id"]

    told = service.client.get(f"/api/v1/decisions/{decision_id}").raise_for_status().json()

    assert told["matches"] is True
    assert told["decision"]["expert_id"] == told["recomputed"]["expert_id"]


def test_the_seeds_single_request_is_routed(service: Running) -> None:
    work = {"type": "inference", "data": [0.1, 0.2, 0.3], "priority": 0.8, "complexity": 0.5}

    answer = service.post(ROUTE, {"data": work, "routing_strategy": "adaptive"}).raise_for_status().json()

    assert len(answer["selected_services"]) == 1
    assert answer["routing_strategy"] == "score"
    assert answer["tier"] == "baseline"


@pytest.mark.parametrize(
    ("complexity", "tier"), [(0.0, "fast"), ("simple", "fast"), ("complex", "premium"), (1, "premium")]
)
def test_complexity_is_a_number_or_a_word(service: Running, complexity: object, tier: str) -> None:
    work = {"type": "analysis", "data": "Why?", "complexity": complexity}

    assert service.post(ROUTE, {"data": work}).json()["tier"] == tier


def test_a_seeds_strategy_that_does_not_exist_is_told(service: Running) -> None:
    answer = service.post(ROUTE, {"data": {"type": "inference"}, "routing_strategy": "scor"})

    told = answer.json()
    assert (answer.status_code, told["code"], told["where"]) == (422, "invalid_request", "routing_strategy")
    assert told["closest"] == "score"


def test_a_batch_gives_each_row_what_route_would(service: Running) -> None:
    rows = [ASKED, {"task_type": "documentation", "text": "Describe it"}, {"text": "x", "min_quality": 0.9999}]

    answer = BatchView.model_validate(service.post(BATCH, {"requests": rows}).raise_for_status().json())

    alone = [service.post(ROUTE, row).json() for row in rows]
    assert [row.expert_id for row in answer.results] == [one.get("expert_id") for one in alone]
    assert [row.estimated_cost_usd for row in answer.results] == [one.get("estimated_cost_usd") for one in alone]
    assert answer.count == 3


def test_a_batch_takes_the_seeds_flat_rows_and_our_own(service: Running) -> None:
    rows = [{"type": "inference", "data": [0.1]}, {"type": "storage", "data": {"key": "value"}}, ASKED]

    results = service.post(BATCH, {"requests": rows}).raise_for_status().json()["results"]

    assert [len(row["selected_services"]) for row in results] == [1, 1, 1]


def test_a_batch_names_the_row_that_is_wrong(service: Running) -> None:
    answer = service.post(BATCH, {"requests": [ASKED, {"text": "x", "min_quality": 7}]})

    assert answer.status_code == 422
    assert answer.json()["where"].startswith("requests.1.min_quality")


def test_the_demo_compares_every_strategy_on_every_type(service: Running) -> None:
    told = service.client.get("/api/v1/demo/smart_routing", params={"complexity": "complex"}).raise_for_status().json()

    assert len(told["comparison"]) == 12 * len(told["strategies"])
    assert {row["strategy"] for row in told["comparison"]} == set(told["strategies"])
