"""Every metric by its name: what it counts, and by what. The first four are seed 004's.

Labels come from bounded sets: ids of the catalogue, task types, strategies, error classes, templates of routes. What is
in none of them is counted under `other`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple


class Kind(Enum):
    """How a metric is kept, and what becomes of it where several processes answer as one.

    COUNTER and HISTOGRAM add up. A TALLY is a count whose name was given without `_total`, so that it is shown as a
    gauge. A LEVEL is each process's own and adds up over those that live. LOOKED_UP is read from the shared stores when
    somebody asks.
    """

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    TALLY = "tally"
    LEVEL = "level"
    LOOKED_UP = "looked up"


class Metric(NamedTuple):
    """`buckets` are the upper bounds of a histogram."""

    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


OTHER: Final = "other"
_DECIDING_MS: Final = (0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0)
_BATCH_MS: Final = (0.1, 0.5, 1.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1000.0)
_CALL_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0)
_HTTP_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)
_RATIO: Final = (0.1, 0.25, 0.5, 0.75, 0.9, 1.1, 1.25, 1.5, 2.0, 4.0, 10.0)

METRICS: Final[Mapping[str, Metric]] = {
    "moe_routing_total": Metric(
        Kind.COUNTER,
        "Decisions, alone and in batches; result: routed, or infeasible where nobody may serve.",
        ("strategy", "task_type", "result"),
    ),
    "moe_expert_usage": Metric(Kind.TALLY, "Decisions that chose the expert, since the start.", ("expert_id",)),
    "moe_routing_latency_ms": Metric(
        Kind.HISTOGRAM, "Time to decide one request, in milliseconds.", buckets=_DECIDING_MS
    ),
    "moe_load_balance_score": Metric(
        Kind.LOOKED_UP,
        "Jain's index over the load of registered services, else over the decisions of experts: 1 is even, 1/n is one.",
    ),
    "crew_moe_batch_latency_ms": Metric(
        Kind.HISTOGRAM, "Time to decide one batch, in milliseconds.", buckets=_BATCH_MS
    ),
    "crew_moe_attempts_total": Metric(
        Kind.COUNTER, "Attempts at experts; result: ok, or the class of the error.", ("expert_id", "result")
    ),
    "crew_moe_attempt_seconds": Metric(
        Kind.HISTOGRAM, "Duration of attempts that made a call.", ("expert_id",), _CALL_S
    ),
    "crew_moe_fallbacks_total": Metric(
        Kind.COUNTER, "Switches to another expert, by the error of the one before.", ("error",)
    ),
    "crew_moe_outcomes_total": Metric(
        Kind.COUNTER, "Outcomes that others reported; result: ok or failed.", ("expert_id", "result")
    ),
    "crew_moe_feedback_total": Metric(Kind.COUNTER, "Judgements of answers.", ("outcome",)),
    "crew_moe_gate_verdicts_total": Metric(
        Kind.COUNTER, "Verdicts of the gate: allow, downgrade, hold, deny.", ("ruling",)
    ),
    "crew_moe_spend_usd_total": Metric(
        Kind.COUNTER, "What attempts and reported outcomes have cost, in US$.", ("expert_id",)
    ),
    "crew_moe_tokens_total": Metric(
        Kind.COUNTER,
        "Tokens of attempts; kind: input, output, cached (part of the input, a hit of a provider's cache).",
        ("expert_id", "kind"),
    ),
    "crew_moe_wasted_usd_total": Metric(
        Kind.COUNTER, "What attempts have cost that served nobody, at worst where nobody knows.", ("reason",)
    ),
    "crew_moe_wasted_tokens_total": Metric(Kind.COUNTER, "Tokens of attempts that served nobody.", ("reason",)),
    "crew_moe_cost_ratio": Metric(
        Kind.HISTOGRAM, "True cost of an answer over the cost that its decision expected.", buckets=_RATIO
    ),
    "crew_moe_breaker_changes_total": Metric(Kind.COUNTER, "Breakers that changed, by their new state.", ("state",)),
    "crew_moe_budget_alarms_total": Metric(
        Kind.COUNTER, "Budgets that need a look: soft_limit, burn_rate, overrun.", ("alarm",)
    ),
    "crew_moe_alarms_total": Metric(Kind.COUNTER, "Events of the log at the level of warnings, by name.", ("event",)),
    "crew_moe_http_requests_total": Metric(
        Kind.COUNTER, "HTTP requests, by the route's template.", ("route", "method", "status")
    ),
    "crew_moe_http_request_seconds": Metric(
        Kind.HISTOGRAM, "Duration of HTTP requests to the end of the answer.", ("route",), _HTTP_S
    ),
    "crew_moe_http_in_flight": Metric(Kind.LEVEL, "HTTP requests that are being answered."),
    "crew_moe_rate_limited_total": Metric(
        Kind.COUNTER, "Requests beyond a rate; limit: requests, or failures (refused credentials).", ("limit",)
    ),
    "crew_moe_callers_refused_total": Metric(
        Kind.COUNTER, "Credentials that let nobody in: missing, invalid, expired.", ("code",)
    ),
    "crew_moe_breaker_state": Metric(Kind.LOOKED_UP, "0 closed, 1 half-open, 2 open; absent: never used.", ("key",)),
    "crew_moe_budget_limit_usd": Metric(Kind.LOOKED_UP, "Limits of the 50 fullest scopes.", ("scope",)),
    "crew_moe_budget_settled_usd": Metric(Kind.LOOKED_UP, "Spent by those scopes in their window.", ("scope",)),
    "crew_moe_budget_reserved_usd": Metric(Kind.LOOKED_UP, "Put aside for calls under way.", ("scope",)),
    "crew_moe_budget_overrun_usd": Metric(Kind.LOOKED_UP, "Spent beyond what was put aside.", ("scope",)),
    "crew_moe_places_in_use": Metric(
        Kind.LOOKED_UP, "Calls under way at experts whose limits are known.", ("expert_id",)
    ),
    "crew_moe_stores_lost": Metric(
        Kind.LOOKED_UP, "1 where a store could not be asked just now, by its name.", ("store",)
    ),
    "crew_moe_log_backlog": Metric(Kind.LEVEL, "Rows of the decision log that wait to be stored."),
    "crew_moe_log_dropped": Metric(Kind.LEVEL, "Rows of the decision log that found its queue full."),
    "crew_moe_screening_texts": Metric(Kind.LEVEL, "Texts given to screening."),
    "crew_moe_screening_cache_hits": Metric(Kind.LEVEL, "Texts that screening had seen before."),
    "crew_moe_feed_readers": Metric(Kind.LEVEL, "Subscribers of the live feed."),
    "crew_moe_feed_dropped": Metric(Kind.LEVEL, "Events that could not be published in the live feed."),
    "crew_moe_telemetry_backlog": Metric(Kind.LEVEL, "Happenings that wait to be counted."),
    "crew_moe_telemetry_dropped": Metric(Kind.LEVEL, "Happenings that nobody could count: telemetry fell behind."),
}
