"""What is counted, and how it is shown."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from prometheus_client.parser import text_string_to_metric_families

from crew_moe import Feedback, Infeasible, Outcome, Router, RoutingRequest
from crew_moe.domain.happening import Attempted, Noted
from crew_moe.domain.outcome import Attempt, ErrorClass
from crew_moe.domain.usage import Usage
from crew_moe.errors import MissingExtra, StateError
from crew_moe.sim import Simulation, simulate
from crew_moe.surface.telemetry import Telemetry
from crew_moe.telemetry.events import Recorder
from crew_moe.telemetry.metric_table import METRICS, OTHER
from crew_moe.telemetry.metrics import MAX_ROUTES, Metrics
from crew_moe.telemetry.sources import MAX_SCOPES, Sources

NOW = datetime(2026, 1, 5, tzinfo=UTC)
REQUEST = RoutingRequest(task_type="planning", text="hello", tenant="acme")

Served = tuple[Router, Metrics, Simulation]


@pytest.fixture
def served() -> Iterator[Served]:
    """A router whose app is measured: its calls go to simulated providers."""
    telemetry = Telemetry.open(":memory:")
    with (
        simulate() as sim,
        Router.from_config(
            state=":memory:", base_url=sim.base_url, sink=Recorder(), watchers=telemetry.watchers
        ) as router,
    ):
        telemetry.bind(router)
        yield router, telemetry.metrics, sim
        telemetry.close()


def values(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """The samples of one name by their labels, as Prometheus reads them."""
    families = text_string_to_metric_families(metrics.render().decode())
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return {tuple(sample.labels.values()): sample.value for sample in samples}


def total(metrics: Metrics, name: str) -> float:
    return sum(values(metrics, name).values())


def test_seeds_four_are_there_by_their_names(served: Served) -> None:
    router, metrics, _ = served
    expert_id = router.decide(REQUEST).expert_id  # type: ignore[union-attr]

    assert values(metrics, "moe_routing_total") == {("routed", "score", "planning"): 1.0}
    assert values(metrics, "moe_expert_usage") == {(expert_id,): 1.0}
    assert values(metrics, "moe_routing_latency_ms_count") == {(): 1.0}
    assert 0 < total(metrics, "moe_load_balance_score") < 1


def test_batches_count_as_their_decisions(served: Served) -> None:
    router, metrics, _ = served
    refused = REQUEST.model_copy(update={"min_quality": 1.0})
    router.decide_batch([REQUEST, REQUEST, refused, RoutingRequest(text="hello")])

    assert values(metrics, "moe_routing_total") == {
        ("routed", "score", "planning"): 2.0,
        ("infeasible", "score", "planning"): 1.0,
        ("routed", "score", "inferred"): 1.0,
    }
    assert total(metrics, "moe_expert_usage") == 3


def test_attempts_fallbacks_and_spend(served: Served) -> None:
    router, metrics, sim = served
    sim.kill("anthropic")
    answer = router.complete(RoutingRequest(task_type="code_generation", text="hello"))
    assert not isinstance(answer, Infeasible)

    assert values(metrics, "crew_moe_attempts_total") == {
        ("claude-sonnet-4", "connection"): 1.0,
        (answer.expert_id, "ok"): 1.0,
    }
    assert values(metrics, "crew_moe_fallbacks_total") == {("connection",): 1.0}
    assert total(metrics, "crew_moe_spend_usd_total") == pytest.approx(float(answer.cost_usd))
    assert total(metrics, "crew_moe_attempt_seconds_count") == 2


def test_true_cost_stands_beside_the_expected_one(served: Served) -> None:
    router, metrics, _ = served
    decision = router.decide(REQUEST)
    assert not isinstance(decision, Infeasible)
    cost_usd = 2 * decision.basis.expected_nano / 1e9
    router.record(
        Outcome(decision_id=decision.decision_id, expert_id=decision.expert_id, success=True, cost_usd=cost_usd)
    )

    assert total(metrics, "crew_moe_cost_ratio_sum") == pytest.approx(2.0, rel=1e-3)
    assert values(metrics, "crew_moe_outcomes_total") == {(decision.expert_id, "ok"): 1.0}


def test_work_that_served_nobody_is_wasted() -> None:
    usage, cost = Usage(input_tokens=90, output_tokens=10, cached_tokens=40), Decimal("0.25")
    attempt = Attempt(number=1, expert_id="x", ok=False, error=ErrorClass.SERVER, usage=usage, started_at=NOW)
    metrics = Metrics(Sources(experts=frozenset({"x"})))
    metrics.read([Attempted("d", "planning", None, replace(attempt, cost_usd=cost, unsettled_usd=cost))])

    assert values(metrics, "crew_moe_wasted_usd_total") == {("server",): 0.5}
    assert values(metrics, "crew_moe_wasted_tokens_total") == {("server",): 100.0}
    assert values(metrics, "crew_moe_tokens_total")["x", "cached"] == 40.0


def test_budgets_and_breakers_are_looked_up(served: Served) -> None:
    router, metrics, _ = served
    router.budgets.set("tenant:acme", "5")
    decision_id = router.decide(REQUEST).decision_id
    for attempt in range(1, 7):
        router.record(
            Outcome(decision_id=decision_id, attempt=attempt, expert_id="gpt-4o", success=False, cost_usd="1")
        )

    assert values(metrics, "crew_moe_budget_limit_usd") == {("tenant:acme",): 5.0}
    assert values(metrics, "crew_moe_budget_overrun_usd") == {("tenant:acme",): 1.0}
    assert values(metrics, "crew_moe_breaker_state")["expert:gpt-4o",] == 2.0
    assert values(metrics, "crew_moe_breaker_changes_total") == {("open",): 2.0}


def test_only_the_fullest_scopes_are_shown(served: Served) -> None:
    router, metrics, _ = served
    for number in range(MAX_SCOPES + 10):
        router.budgets.set(f"tenant:t{number}", "5")
    router.budgets.ledger.charge("c", ("tenant:t59",), usd="4")

    shown = values(metrics, "crew_moe_budget_limit_usd")
    assert len(shown) == MAX_SCOPES
    assert ("tenant:t59",) in shown


def test_store_that_is_lost_is_said_and_costs_nothing_else() -> None:
    def lost() -> dict[str, int]:
        raise StateError("no connection")

    metrics = Metrics(Sources(places=lost))

    assert values(metrics, "crew_moe_stores_lost") == {("state",): 0.0, ("ledger",): 0.0, ("meters",): 1.0}


def test_requests_are_counted_by_template(served: Served) -> None:
    _, metrics, _ = served
    for route, method in (("/api/v1/decisions/{id}", "GET"), ("", "GET"), ("", "BREW")):
        metrics.begun()
        metrics.served(route, method, 200, 0.004)
    metrics.begun()

    assert values(metrics, "crew_moe_http_requests_total") == {
        ("GET", "/api/v1/decisions/{id}", "200"): 1.0,
        ("GET", OTHER, "200"): 1.0,
        (OTHER, OTHER, "200"): 1.0,
    }
    assert total(metrics, "crew_moe_http_in_flight") == 1


def test_only_so_many_routes_stand_as_labels(served: Served) -> None:
    _, metrics, _ = served
    for number in range(MAX_ROUTES + 50):
        metrics.served(f"/{number}", "GET", 200, 0.001)

    counted = values(metrics, "crew_moe_http_requests_total")
    assert len(counted) == MAX_ROUTES + 1
    assert counted["GET", OTHER, "200"] == 50.0


def test_labels_stay_bounded_whatever_happens(served: Served) -> None:
    router, metrics, _ = served
    for number in range(50):
        metrics.refused_caller(f"because of {number}")
        metrics.limited(f"limit {number}")
        metrics.read([Noted("gate_verdict", {"ruling": f"maybe {number}"}, NOW)])
        metrics.read([Noted("expert_switched", {"error": f"error {number}"}, NOW)])
        router.feedback(Feedback(decision_id=router.decide(REQUEST).decision_id, source=f"s{number}", quality=0.5))

    names = ("callers_refused", "rate_limited", "gate_verdicts", "fallbacks", "feedback")
    assert all(values(metrics, f"crew_moe_{name}_total") == {(OTHER,): 50.0} for name in names)


@pytest.mark.parametrize(
    ("event", "fields", "ruling"),
    [
        ("gate_verdict", {"ruling": "deny"}, "deny"),
        ("gate_verdict", {"ruling": "downgrade"}, "downgrade"),
        ("gate_allowed", {}, "allow"),
        ("approval_asked", {}, "hold"),
    ],
)
def test_verdicts_of_the_gate(event: str, fields: dict[str, str], ruling: str) -> None:
    metrics = Metrics()
    metrics.read([Noted(event, fields, NOW)])

    assert values(metrics, "crew_moe_gate_verdicts_total") == {(ruling,): 1.0}


def test_alarms_are_counted_by_name() -> None:
    metrics = Metrics()
    metrics.read([Noted("budget_overrun", {}, NOW), Noted("state_lost", {}, NOW), Noted("state_back", {}, NOW)])

    assert values(metrics, "crew_moe_alarms_total") == {("budget_overrun",): 1.0, ("state_lost",): 1.0}
    assert values(metrics, "crew_moe_budget_alarms_total") == {("overrun",): 1.0}


def test_every_metric_of_the_table_is_shown_and_no_other(served: Served) -> None:
    _, metrics, _ = served
    families = list(text_string_to_metric_families(metrics.render().decode()))
    shown = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}

    assert shown == METRICS.keys()


def test_json_has_the_seeds_four_as_figures_and_all_by_name(served: Served) -> None:
    router, metrics, _ = served
    router.decide(REQUEST)
    told = metrics.as_json()

    assert told["moe_routing_total"] == 1.0
    assert told["moe_routing_latency_ms"]["count"] == 1.0
    assert told["metrics"].keys() == METRICS.keys()


def test_two_apps_do_not_share_their_figures() -> None:
    one, other = Metrics(), Metrics()
    one.limited("requests")

    assert (total(one, "crew_moe_rate_limited_total"), total(other, "crew_moe_rate_limited_total")) == (1.0, 0.0)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)

    with pytest.raises(MissingExtra, match=r"crew-moe\[service\]"):
        Metrics()


def test_registered_services_are_what_load_is_balanced_over() -> None:
    metrics = Metrics(Sources(usable=4, evenness=lambda: 0.85))

    assert metrics.as_json()["moe_load_balance_score"] == 0.85
