"""GET /experts, /health, /metrics and what is reported of decisions."""

from __future__ import annotations

import pytest

from crew_moe.service.views import ExpertsView, HealthView, StatsView
from tests.auth.issuing import admin_token, bearer, token
from tests.service.running import Running, running

EXPERTS = "/api/v1/experts"


def test_experts_come_by_pages(service: Running) -> None:
    seen, cursor = [], None
    while True:
        query: dict[str, str | int] = {"limit": 7, **({} if cursor is None else {"cursor": cursor})}
        page = ExpertsView.model_validate(service.client.get(EXPERTS, params=query).raise_for_status().json())
        seen += [row.expert_id for row in page.experts]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert seen == [expert.expert_id for expert in service.router.registry]
    assert page.total == len(seen)


def test_experts_are_chosen_by_what_they_are(service: Running) -> None:
    query = {"tier": "premium", "capability": ["vision", "tools"], "fields": ["tier", "capabilities"]}

    rows = service.client.get(EXPERTS, params=query).raise_for_status().json()["experts"]

    assert rows
    assert all(set(row) == {"expert_id", "tier", "capabilities"} for row in rows)
    assert all(row["tier"] == "premium" and {"vision", "tools"} <= set(row["capabilities"]) for row in rows)


def test_health_tells_of_every_expert(service: Running) -> None:
    told = HealthView.model_validate(service.client.get("/api/v1/health").raise_for_status().json())

    assert (told.status, told.state) == ("ok", "ok")
    assert {row.expert_id for row in told.experts} == set(service.router.registry.by_id)


def test_metrics_of_all_are_shown_to_operators_alone(guarded: Running) -> None:
    asked = [
        guarded.client.get("/api/v1/metrics", headers={"Authorization": bearer(credential)}).raise_for_status().json()
        for credential in (admin_token(tenant=None), token())
    ]

    whole, own = (StatsView.model_validate(one) for one in asked)
    assert whole.metrics is not None
    assert whole.metrics["moe_routing_total"] >= 0
    assert own.metrics is None


def test_prometheus_reads_the_four_metrics_of_the_seed() -> None:
    with running() as service:
        service.post("/api/v1/route", {"task_type": "planning", "text": "Plan it"})
        text = service.client.get("/metrics").raise_for_status().text

    assert 'moe_routing_total{result="routed",strategy="score",task_type="planning"} 1.0' in text
    for name in ("moe_expert_usage", "moe_routing_latency_ms_bucket", "moe_load_balance_score"):
        assert f"\n{name}" in text
    assert 'crew_moe_http_requests_total{method="POST",route="/api/v1/route",status="200"} 1.0' in text


def test_an_outcome_counts_once_and_moves_the_record(service: Running) -> None:
    decision = service.post("/api/v1/route", {"task_type": "planning", "text": "Plan it"}).json()
    told = {"decision_id": decision["decision_id"], "expert_id": decision["expert_id"], "success": True}

    first, second = (service.post("/api/v1/outcomes", {**told, "latency_ms": 900}).json() for _ in range(2))

    assert (first, second) == ({"recorded": True}, {"recorded": False})
    record = service.client.get(f"/api/v1/decisions/{decision['decision_id']}").json()
    assert record["served_by"] == decision["expert_id"]


def test_feedback_is_taken_once_from_each_source(service: Running) -> None:
    decision = service.post("/api/v1/route", {"task_type": "planning", "text": "Plan it"}).json()
    judged = {"decision_id": decision["decision_id"], "source": "client-7", "rating": 5, "pr_merged": True}

    answers = [service.post("/api/v1/feedback", body).json() for body in (judged, judged, {**judged, "source": "x"})]

    assert [answer["recorded"] for answer in answers] == [True, False, True]


def test_a_rating_moves_the_learned_weight_of_who_answered() -> None:
    with running() as service:
        decision = service.post("/api/v1/route", {"task_type": "planning", "text": "Plan it"}).json()
        service.post("/api/v1/feedback", {"decision_id": decision["decision_id"], "source": "client-7", "rating": 5})
        learned = service.router.state.performance(service.router.clock.now())

    assert learned[decision["expert_id"], "planning"].learned == pytest.approx(0.5 + 0.1 * 0.5)


def test_a_caller_is_one_voice_whatever_sources_it_names(guarded: Running) -> None:
    who = {"Authorization": bearer(token(tenant="loud", scope="router:read router:report"))}
    for number in range(8):
        decision = guarded.post("/api/v1/route", {"task_type": "testing", "text": "Test it"}, headers=who).json()
        rated = {"decision_id": decision["decision_id"], "source": f"client-{number}", "rating": 5}
        assert guarded.post("/api/v1/feedback", rated, headers=who).json() == {"recorded": True}

    learned = guarded.router.state.performance(guarded.router.clock.now())[decision["expert_id"], "testing"].learned
    assert learned == pytest.approx(1 - 0.5 * 0.9**5, abs=1e-3)


def test_a_strategy_is_overridden_and_cleared() -> None:
    with running() as service:
        put = service.post("/api/v1/strategy/override", {"strategy": "rule", "minutes": 5, "reason": "trial"}).json()
        during = service.post("/api/v1/route", {"text": "Plan it"}).json()["strategy"]
        cleared = service.post("/api/v1/strategy/override", {"clear": True}).json()
        after = service.post("/api/v1/route", {"text": "Plan it"}).json()["strategy"]

    assert (put["strategy"], put["expert_id"], during) == ("rule", None, "rule")
    assert (cleared, after) == ({"removed": 1}, "score")


@pytest.mark.parametrize("body", [{}, {"strategy": "rule", "expert_id": "gpt-4o"}, {"strategy": "rule", "clear": True}])
def test_an_override_is_one_thing(service: Running, body: dict[str, object]) -> None:
    answer = service.post("/api/v1/strategy/override", body)

    assert (answer.status_code, "give one of strategy, expert_id and clear" in answer.text) == (422, True)
