"""Rows about experts for people: how they do, and how they compare."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.task import TaskType
from crew_moe.routing import Board
from crew_moe.routing.reports import ExpertHealth, health_of, outcome_counts, standings, typical_request
from tests.routing.given import NOW, OPEN, board, expert, market, record

LEARNED = {
    ("gpt-4o", "planning"): record(success_rate=0.5, latency_ms=100.0, quality=0.8, cost_usd=0.02),
    ("gpt-4o", "testing"): record(success_rate=1.0, latency_ms=300.0),
}


def health(expert_id: str, on: Board) -> ExpertHealth:
    return next(row for row in health_of(on) if row.expert_id == expert_id)


def test_health_without_a_record_is_what_the_catalogue_says() -> None:
    row = health("gpt-4o", board())

    assert (row.available, row.reason, row.breaker) == (True, "", "closed")
    assert (row.samples, row.success_rate, row.cost_usd) == (0, None, None)
    assert (row.quality, row.latency_ms) == (0.92, 700)


def test_health_is_the_mean_over_task_types() -> None:
    row = health("gpt-4o", board(performance=LEARNED))

    assert (row.samples, row.success_rate, row.latency_ms) == (200, 0.75, 200)
    assert (row.quality, row.cost_usd) == (0.8, 0.02)
    assert row.as_dict()["input_usd_per_mtok"] == "2.5"


@pytest.mark.parametrize(
    ("expert_id", "reason"),
    [
        ("local/ollama", "switched off in the catalogue"),
        ("claude-opus-4", "retired by its provider"),
        ("gpt-5", "OPENAI_API_KEY is not set"),
        ("command-r", "breaker expert:command-r is open"),
        ("mistral-small-4", "breaker provider:mistral is open"),
    ],
)
def test_health_says_why_an_expert_can_not_be_called(expert_id: str, reason: str) -> None:
    breakers = {"expert:command-r": OPEN, "provider:mistral": OPEN}
    on = board(live=True, without_credentials=frozenset({"gpt-5"}), breakers=breakers)

    row = health(expert_id, on)

    assert (row.available, row.reason) == (False, reason)


def test_an_ejection_that_is_over_leaves_an_expert_available() -> None:
    over = {"expert:command-r": OPEN.__class__(state=OPEN.state, until=NOW - timedelta(seconds=1))}

    assert health("command-r", board(breakers=over)).available


def test_standings_are_best_first_with_cost_and_return() -> None:
    rows = standings(board(performance=LEARNED), typical_request(TaskType.PLANNING))

    assert [row.score for row in rows] == sorted((row.score for row in rows), reverse=True)
    assert min(row.cost_ratio or 9 for row in rows if row.expected_cost_usd) == 1.0
    assert all(0.0 < row.roi < 1.0 for row in rows)
    assert next(row for row in rows if row.expert_id == "gpt-4o").samples == 100


def test_standings_stop_at_the_top() -> None:
    assert len(standings(board(), typical_request(TaskType.PLANNING), top=3)) == 3


def test_a_free_expert_stands_beside_the_others() -> None:
    free = expert("free", input_usd_per_mtok=Decimal(0), output_usd_per_mtok=Decimal(0))
    rows = standings(board(registry=market(free, expert("paid"))), RoutingRequest(task_type="planning"))

    by_id = {row.expert_id: row for row in rows}
    assert (by_id["free"].expected_cost_usd, by_id["free"].cost_ratio) == (Decimal(0), 0.0)
    assert by_id["free"].roi > by_id["paid"].roi
    assert by_id["free"].as_dict()["expected_cost_usd"] == "0"
    only = standings(board(registry=market(free)), RoutingRequest(task_type="planning"))
    assert only[0].cost_ratio is None


def test_calls_are_counted_over_task_types() -> None:
    assert outcome_counts(board(performance=LEARNED)) == {"gpt-4o": 200.0}
