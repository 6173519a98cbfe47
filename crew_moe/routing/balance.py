"""Rebalancing: which weights even out the load of services that do the same work.

A service that takes `capacity` calls at once, each for `latency_ms`, and answers `success` of them well, is due a part
of all calls in proportion to capacity x success / latency: with those parts, every place is busy for an equal part of
the time (Little's law). Who had more than its due so far gets as much less from now on, as far as there is a record to
trust. A service that does not answer keeps a small part, so that it is found again when it does. The weights depend on
what is known now and not on the weights before, so that doing it twice does no more than doing it once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from crew_moe.domain.service import RELIABILITY, Service
from crew_moe.routing.board import Board
from crew_moe.state.breaker import admits, expert_key, provider_key

SETTLING_CALLS: Final = 20.0  # calls before the parts that services had are trusted by half
LEAST: Final = 0.05  # of what it is due, for a service that had far too much or does not answer
MOST: Final = 2.0  # of what it is due, for one that had next to nothing
LEAST_LATENCY_MS: Final = 0.1
LEAST_SUCCESS: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """A service that bears a part of the load. `calls` are those on record, faded by age; `up`: it can be called."""

    service_id: str
    capacity: int
    weight: float
    calls: float
    latency_ms: float
    success: float
    up: bool = True

    @property
    def worth(self) -> float:
        """Calls in a time that all its places answer well."""
        speed = self.capacity / max(self.latency_ms, LEAST_LATENCY_MS)
        return speed * max(self.success, LEAST_SUCCESS) * (1.0 if self.up else LEAST)


def jain(loads: Sequence[float]) -> float:
    """Jain's index of fairness (Jain, Chiu, Hawe 1984): 1 when all loads are equal, 1/n when one bears everything.

    >>> jain([3.0, 3.0, 3.0]), jain([1.0, 0.0])
    (1.0, 0.5)
    """
    squares = sum(load * load for load in loads)
    total = sum(loads)
    return 1.0 if squares == 0.0 else total * total / (len(loads) * squares)


def due(bearers: Sequence[Bearer]) -> Mapping[str, float]:
    """The part of all calls that each should have, 0-1."""
    total = sum(one.worth for one in bearers)
    return {one.service_id: one.worth / total for one in bearers}


def weights_for(bearers: Sequence[Bearer]) -> dict[str, float]:
    """The weights that even the load out; their mean is 1."""
    if not bearers:
        return {}
    parts, calls = due(bearers), sum(one.calls for one in bearers)
    trust = calls / (calls + SETTLING_CALLS)
    raw = {}
    for one in bearers:
        part = parts[one.service_id]
        had = one.calls / calls if calls else part
        wanted = part + trust * (part - had)
        raw[one.service_id] = min(max(wanted, LEAST * part), MOST * part) / one.capacity
    mean = sum(raw.values()) / len(raw)
    return {name: weight / mean for name, weight in raw.items()}


def score(bearers: Sequence[Bearer], weights: Mapping[str, float] | None = None) -> float:
    """How even the load per place is, by Jain's index, over the services that are up.

    Of the calls on record and a few more, shared out by the weights that the services have, lest the first call that
    anybody makes looks like a burden. With `weights`, of as many calls again that are shared out by these.
    """
    up = [one for one in bearers if one.up]
    if not up:
        return 1.0
    calls = sum(one.calls for one in up)
    given = {one.service_id: one.weight for one in up} if weights is None else weights
    total = sum(given[one.service_id] * one.capacity for one in up)
    coming = SETTLING_CALLS if weights is None else max(calls, SETTLING_CALLS)
    return jain([_load(one, one.calls + coming * given[one.service_id] * one.capacity / total) for one in up])


def _load(one: Bearer, calls: float) -> float:
    """How long each of its places was busy."""
    return calls * max(one.latency_ms, LEAST_LATENCY_MS) / one.capacity


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebalance:
    """What rebalancing did to the services of one type (and one owner): their weights, how even the load was, how even
    it will be, and who answered when asked for its health. Scores are Jain's index of load per place, in (0, 1].
    """

    service_type: str
    tenant: str | None
    before: Mapping[str, float]
    after: Mapping[str, float]
    score_before: float
    score_after: float
    healthy: Mapping[str, bool]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def rebalanced(services: Sequence[Service], board: Board, healthy: Mapping[str, bool]) -> tuple[Rebalance, ...]:
    """New weights for these services, type by type and owner by owner."""
    groups: dict[tuple[str, str], list[Service]] = {}
    for one in services:
        groups.setdefault((one.service_type, one.tenant or ""), []).append(one)
    return tuple(_rebalanced(group, board, healthy) for _, group in sorted(groups.items()))


def balance_of(board: Board) -> float:
    """How even the load is over registered services: the mean of the types' scores, 1.0 where there are none."""
    before = [one.score_before for one in rebalanced(board.services, board, {})]
    return sum(before) / len(before) if before else 1.0


def _rebalanced(services: Sequence[Service], board: Board, healthy: Mapping[str, bool]) -> Rebalance:
    bearers = [_bearer(one, board, healthy.get(one.service_id, True)) for one in services]
    after = weights_for(bearers)
    return Rebalance(
        service_type=services[0].service_type,
        tenant=services[0].tenant,
        before={one.service_id: one.weight for one in services},
        after=after,
        score_before=score(bearers),
        score_after=score(bearers, after),
        healthy={one.service_id: healthy[one.service_id] for one in services if one.service_id in healthy},
    )


def _bearer(service: Service, board: Board, well: bool) -> Bearer:
    name, snapshot = service.service_id, board.snapshot
    records = [row for (expert_id, _), row in snapshot.performance.items() if expert_id == name]
    breakers = [snapshot.breakers.get(key) for key in (expert_key(name), provider_key(service.provider))]
    return Bearer(
        service_id=name,
        capacity=service.max_capacity,
        weight=service.weight,
        calls=sum(row.samples for row in records),
        latency_ms=_mean([(row.latency_ms, row.samples) for row in records], service.latency_ms),
        success=_mean([(row.success_rate, row.samples) for row in records], RELIABILITY),
        up=well and all(breaker is None or admits(breaker, snapshot.taken_at) for breaker in breakers),
    )


def _mean(pairs: Sequence[tuple[float | None, float]], assumed: float) -> float:
    """Mean weighted by samples, of what was observed; `assumed` where nothing was."""
    known = [(value, weight) for value, weight in pairs if value is not None and weight > 0.0]
    return sum(value * weight for value, weight in known) / sum(weight for _, weight in known) if known else assumed
