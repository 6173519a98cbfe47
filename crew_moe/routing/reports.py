"""What the router knows of its experts, as rows for people and machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from crew_moe.domain.access import NO_DEMANDS, Demands
from crew_moe.domain.expert import Status
from crew_moe.domain.money import to_usd
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.snapshot import Circuit, Pin
from crew_moe.domain.task import TaskType
from crew_moe.routing.board import Board
from crew_moe.routing.cost import return_on_cost
from crew_moe.routing.features import extract
from crew_moe.routing.needs import terms_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertHealth:
    """How one expert does, over all task types: rates 0-1, latency ms, cost US$ a call; None is 'no record yet'."""

    expert_id: str
    provider: str
    tier: str
    available: bool
    reason: str
    breaker: str
    provider_breaker: str
    samples: float
    success_rate: float | None
    quality: float
    latency_ms: float
    cost_usd: float | None
    input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal

    def as_dict(self) -> dict[str, Any]:
        row = asdict(self)
        row["input_usd_per_mtok"] = f"{self.input_usd_per_mtok:f}"
        row["output_usd_per_mtok"] = f"{self.output_usd_per_mtok:f}"
        return row


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One expert at one task type: predicted cost of a typical call, what the score makes of it, and its return.

    `roi` is quality per money and time in [0, 1] (seed 001); `cost_ratio` is the cost over that of the cheapest
    expert that costs anything.
    """

    expert_id: str
    provider: str
    tier: str
    score: float
    quality: float
    expected_cost_usd: Decimal
    cost_ratio: float | None
    latency_ms: float
    success_rate: float | None
    samples: float
    roi: float

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "expected_cost_usd": str(self.expected_cost_usd)}


def health_of(board: Board) -> tuple[ExpertHealth, ...]:
    """One row per expert, in the order of their ids."""
    return tuple(_health(board, index) for index in range(len(board.columns.ids)))


def standings(
    board: Board, request: RoutingRequest, top: int | None = None, demands: Demands = NO_DEMANDS
) -> tuple[Standing, ...]:
    """Eligible experts for a request, best score first."""
    features = extract(request)
    needs = board.needs(request, features, board.snapshot.taken_at, demands)
    terms = terms_of(request, features, board.policy)
    lane = board.lane(needs)
    field = lane.figures.judge(*terms)
    order = sorted(range(len(lane.roster.ids)), key=lambda position: -float(field.ranking[position]))
    costs = [float(field.cost[position]) for position in order]
    cheapest = min((cost for cost in costs if cost > 0), default=None)
    tokens = terms.input_tokens + terms.output_tokens
    reference_usd = float(to_usd(round(tokens * lane.figures.reference_nano)))
    rows = []
    for position, cost in zip(order[:top], costs[:top], strict=True):
        record = board.snapshot.performance.get((lane.roster.ids[position], needs.task_type))
        usd = to_usd(round(cost))
        rows.append(
            Standing(
                expert_id=lane.roster.ids[position],
                provider=lane.roster.providers[position],
                tier=lane.roster.tiers[position],
                score=float(field.score[position]),
                quality=lane.roster.quality[position],
                expected_cost_usd=usd,
                cost_ratio=None if cheapest is None else cost / cheapest,
                latency_ms=lane.roster.latency_ms[position],
                success_rate=record.success_rate if record else None,
                samples=record.samples if record else 0.0,
                roi=return_on_cost(
                    lane.roster.quality[position], lane.roster.latency_ms[position], float(usd), reference_usd
                ),
            )
        )
    return tuple(rows)


def typical_request(task_type: TaskType) -> RoutingRequest:
    """A request of this type with no limits, for comparing experts."""
    return RoutingRequest(task_type=task_type)


def _health(board: Board, index: int) -> ExpertHealth:
    columns, snapshot = board.columns, board.snapshot
    expert = board.registry.experts[index]
    records = [row for (expert_id, _), row in snapshot.performance.items() if expert_id == expert.expert_id]
    own = snapshot.breakers.get(f"expert:{expert.expert_id}")
    provider = snapshot.breakers.get(f"provider:{expert.provider}")
    reason = _unavailable(board, index)
    latency = _mean([(row.latency_ms, row.samples) for row in records])
    quality = _mean([(row.quality, row.samples) for row in records])
    return ExpertHealth(
        expert_id=expert.expert_id,
        provider=expert.provider,
        tier=expert.tier,
        available=not reason,
        reason=reason,
        breaker=own.state if own else Circuit.CLOSED,
        provider_breaker=provider.state if provider else Circuit.CLOSED,
        samples=sum(row.samples for row in records),
        success_rate=_mean([(row.success_rate, row.samples) for row in records]),
        quality=float(columns.quality[index]) if quality is None else quality,
        latency_ms=expert.latency_p50_ms if latency is None else latency,
        cost_usd=_mean([(row.cost_usd, row.samples) for row in records]),
        input_usd_per_mtok=expert.input_usd_per_mtok,
        output_usd_per_mtok=expert.output_usd_per_mtok,
    )


def _unavailable(board: Board, index: int) -> str:
    """Why the expert can't be called now, empty when it can."""
    expert, snapshot = board.registry.experts[index], board.snapshot
    if not expert.enabled:
        return "switched off in the catalogue"
    if expert.status is Status.RETIRED and board.live:
        return "retired by its provider"
    if expert.expert_id in board.without_credentials:
        return f"{expert.api_key_env} is not set"
    for key in (f"expert:{expert.expert_id}", f"provider:{expert.provider}"):
        breaker = snapshot.breakers.get(key)
        if breaker is not None and breaker.until is not None and breaker.until > snapshot.taken_at:
            return f"breaker {key} is open"
    return ""


def _mean(pairs: list[tuple[float | None, float]]) -> float | None:
    """Mean weighted by samples, of those that were observed; the plain one where no call was (feedback alone)."""
    known = [(value, weight) for value, weight in pairs if value is not None]
    total = sum(weight for _, weight in known)
    if not total:
        return sum(value for value, _ in known) / len(known) if known else None
    return sum(value * weight for value, weight in known) / total


def outcome_counts(board: Board) -> Mapping[str, float]:
    """Recorded calls by expert, faded by age."""
    counts: dict[str, float] = {}
    for (expert_id, _), record in board.snapshot.performance.items():
        counts[expert_id] = counts.get(expert_id, 0.0) + record.samples
    return counts


def stats_of(board: Board) -> dict[str, Any]:
    """Figures of a board, JSON-ready: versions, recorded calls by expert, open breakers, experts without room, pins."""
    snapshot = board.snapshot
    return {
        "policy_version": board.policy.version,
        "registry_digest": board.columns.digest,
        "experts": len(board.registry),
        "calls": dict(outcome_counts(board)),
        "provider_share": dict(snapshot.provider_share),
        "open_breakers": sorted(key for key, row in snapshot.breakers.items() if row.state != "closed"),
        "without_room": {expert_id: until.isoformat() for expert_id, until in sorted(snapshot.busy.items())},
        "pins": [pin_row(pin) for pin in snapshot.pins],
    }


def pin_row(pin: Pin) -> dict[str, Any]:
    """A manual override, JSON-ready: to an expert, or to a strategy."""
    return {
        "expert_id": pin.expert_id if pin.strategy is None else None,
        "strategy": pin.strategy,
        "task_type": pin.task_type,
        "task": pin.task,
        "tenant": pin.tenant,
        "reason": pin.reason,
        "by": pin.by,
        "created_at": pin.created_at.isoformat(),
        "expires_at": pin.expires_at.isoformat() if pin.expires_at else None,
    }
