"""Routing by type: the choice among registered services that do the same work (seed 004).

They are told apart by how much room they have, not by points: a service's part is its weight times the places that it
has left. `weighted` draws in proportion to that, so that load spreads without anybody keeping count; `roomiest` takes
the largest part, for work that is urgent. What a choice was made from stands in its row, and is enough to repeat it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, Final, NamedTuple

from crew_moe.domain.access import Demands
from crew_moe.domain.decision import Candidate, CostRange, Decision, Infeasible, Nearest, Rejection
from crew_moe.domain.features import Features
from crew_moe.domain.service import Service
from crew_moe.errors import InvalidRequest
from crew_moe.routing.board import Board
from crew_moe.routing.cost import cost_range
from crew_moe.state.breaker import admits, expert_key, provider_key

WEIGHTED: Final = "weighted"
ROOMIEST: Final = "roomiest"
SERVICE_STRATEGIES: Final = (WEIGHTED, ROOMIEST)
ADAPTIVE: Final = "adaptive"
COMPLEX: Final = 0.7
URGENT: Final = 0.8
CIRCUIT_OPEN: Final = "circuit_open"
NO_ROOM: Final = "no_room"
DRAWN: Final = 4
"""How many are put in order: those that are to do the work, and who is next."""
ACCESS: Final = "access"


class Share(NamedTuple):
    """A service that may be chosen: its weight and how many more calls it takes."""

    service_id: str
    weight: float
    free: int

    @property
    def room(self) -> float:
        return self.weight * self.free


class Order(NamedTuple):
    """The services in the order in which they were chosen, and the probability that the first one had."""

    service_ids: tuple[str, ...]
    propensity: float


class Wanted(NamedTuple):
    """Work as seed 004 describes it: its type, and what a service must be able to do beside.

    `complexity` and `priority` lie in [0, 1]: what is complex is done by two services, what is urgent by the one with
    the most room. Without a `strategy` (or with "adaptive") that is chosen by these. `tenant` is whose work it is.
    """

    type: str
    capabilities: Collection[str] = ()
    complexity: float = 0.5
    priority: float = 0.5
    strategy: str | None = None
    tenant: str | None = None

    def asking(self) -> Asking:
        """How services are to be chosen. Raises InvalidRequest for a strategy that there is not."""
        strategy = self.strategy
        if strategy in (None, ADAPTIVE):
            strategy = ROOMIEST if self.priority >= URGENT else WEIGHTED
        elif strategy not in SERVICE_STRATEGIES:
            allowed = (ADAPTIVE, *SERVICE_STRATEGIES)
            raise InvalidRequest("is unknown", where="strategy", value=strategy, allowed=allowed)
        return Asking(self.type, strategy, 2 if self.complexity >= COMPLEX else 1)


class Asking(NamedTuple):
    """What services are chosen for: the type of the work, by which strategy, and how many of them are to do it."""

    service_type: str
    strategy: str
    wanted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """Implements domain.decision.Basis for a choice among services, `order` in which the first one was chosen."""

    features: Features
    policy_version: str
    registry_digest: str
    asking: Asking
    services: tuple[Service, ...]
    shares: tuple[Share, ...]
    order: tuple[str, ...]
    propensity: float
    seed: int
    rejections: tuple[Rejection, ...]

    @property
    def chosen(self) -> Service:
        return next(one for one in self.services if one.service_id == self.order[0])

    @property
    def selected(self) -> tuple[str, ...]:
        """Those that are to do the work."""
        return self.order[: self.asking.wanted]

    @property
    def profile_id(self) -> str:
        return self.order[0]

    @property
    def tier(self) -> str:
        return self.chosen.tier

    @property
    def confidence(self) -> float:
        """The caller said what the work is: nothing was guessed."""
        return 1.0

    @property
    def expected_nano(self) -> float:
        """Work that is routed by its type is not billed by tokens."""
        return 0.0

    @property
    def cost(self) -> CostRange:
        return cost_range(0.0, 0.0)

    @property
    def fallbacks(self) -> tuple[str, ...]:
        return self.order[1:]

    @property
    def factors(self) -> Mapping[str, float]:
        return {"room": part_of(self.shares, self.order[0]) * 100.0}

    @property
    def candidates(self) -> Sequence[Candidate]:
        by_id = {one.service_id: one for one in self.services}
        return [_candidate(by_id[share.service_id], part_of(self.shares, share.service_id)) for share in self.shares]

    @property
    def group(self) -> None:
        return None

    @property
    def rationale(self) -> str:
        asking, first = self.asking, next(share for share in self.shares if share.service_id == self.order[0])
        parts = [
            f"{first.service_id} for {asking.service_type}",
            f"{asking.strategy}: weight {first.weight:.3g} x {first.free} free places",
            f"{part_of(self.shares, first.service_id):.0%} of the room of {len(self.shares)}",
        ]
        if len(self.selected) > 1:
            parts.append(f"with {', '.join(self.selected[1:])}, for it is complex")
        if self.rejections:
            counts = Counter(rejection.rule for rejection in self.rejections)
            parts.append("not eligible: " + ", ".join(f"{rule} {count}" for rule, count in counts.most_common()))
        return "; ".join(parts)

    @property
    def row(self) -> dict[str, Any]:
        """What the record of the decision needs beside what every decision tells."""
        return {
            "service_type": self.asking.service_type,
            "selected_services": list(self.selected),
            "shares": [list(share) for share in self.shares],
            "seed": self.seed,
        }


def share_out(
    services: Sequence[Service],
    board: Board,
    asking: Asking,
    *,
    features: Features,
    demands: Demands,
    under_way: Mapping[str, int],
    decision_id: str,
    now: datetime,
    seed: int,
) -> Decision | Infeasible:
    """One of these services, or why none of them may do it now. `under_way` counts calls that they have been given."""
    shares, rejected = [], []
    for service in services:
        free = service.max_capacity - under_way.get(service.service_id, 0)
        rejection = _rejection(service, board, demands, free, now)
        if rejection is None:
            shares.append(Share(service.service_id, service.weight, free))
        else:
            rejected.append(rejection)
    if not shares:
        return _infeasible(asking, rejected, board, features=features, decision_id=decision_id, now=now)
    order = ordered(shares, asking.strategy, seed)
    basis = Sharing(
        features=features,
        policy_version=board.policy.version,
        registry_digest=board.columns.digest,
        asking=asking,
        services=tuple(services),
        shares=tuple(shares),
        order=order.service_ids,
        propensity=order.propensity,
        seed=seed,
        rejections=tuple(rejected),
    )
    return Decision(
        decision_id=decision_id,
        expert_id=order.service_ids[0],
        score=part_of(shares, order.service_ids[0]) * 100.0,
        strategy=asking.strategy,
        propensity=order.propensity,
        created_at=now,
        basis=basis,
    )


def ordered(shares: Sequence[Share], strategy: str, seed: int) -> Order:
    """The first DRAWN of them, as the strategy takes one after the other; the same seed gives the same order."""
    if strategy == ROOMIEST:
        ranked = sorted(shares, key=lambda share: (-share.room, share.service_id))
        return Order(tuple(share.service_id for share in ranked[:DRAWN]), 1.0)
    rng, left, drawn = Random(seed), list(shares), list[str]()
    while left and len(drawn) < DRAWN:
        pick = _drawn(left, rng.random())
        left.remove(pick)
        drawn.append(pick.service_id)
    return Order(tuple(drawn), part_of(shares, drawn[0]))


def repeated(row: Mapping[str, Any]) -> tuple[str, float, float]:
    """(service id, score, propensity) worked out again from the row of such a decision."""
    shares = [Share(*share) for share in row["shares"]]
    order = ordered(shares, row["strategy"], row["seed"])
    return order.service_ids[0], part_of(shares, order.service_ids[0]) * 100.0, order.propensity


def part_of(shares: Sequence[Share], service_id: str) -> float:
    """One service's part of all the room, 0-1."""
    total = sum(share.room for share in shares)
    return next(share.room for share in shares if share.service_id == service_id) / total


def _drawn(shares: Sequence[Share], at: float) -> Share:
    """The share that lies at `at` (0-1) of them all, end to end."""
    passed, goal = 0.0, at * sum(share.room for share in shares)
    for share in shares:
        passed += share.room
        if goal < passed:
            return share
    return shares[-1]


def _rejection(service: Service, board: Board, demands: Demands, free: int, now: datetime) -> Rejection | None:
    name, snapshot = service.service_id, board.snapshot
    rules = demands.rules_against(name)
    if rules:
        told = "forbidden by " + " and ".join(f"'{rule}'" for rule in rules)
        return Rejection(expert_id=name, rule=ACCESS, detail=told)
    for key in (expert_key(name), provider_key(service.provider)):
        breaker = snapshot.breakers.get(key)
        if breaker is not None and not admits(breaker, now):
            return Rejection(expert_id=name, rule=CIRCUIT_OPEN, detail="its circuit breaker is open")
    if free < 1 or snapshot.busy.get(name, now) > now:
        return Rejection(expert_id=name, rule=NO_ROOM, detail=f"all of its {service.max_capacity} places are taken")
    return None


def _infeasible(
    asking: Asking, rejected: Sequence[Rejection], board: Board, *, features: Features, decision_id: str, now: datetime
) -> Infeasible:
    order = (NO_ROOM, CIRCUIT_OPEN, ACCESS)  # what a moment would mend is nearer
    first = min(rejected, key=lambda rejection: (order.index(rejection.rule), rejection.expert_id))
    return Infeasible(
        decision_id=decision_id,
        binding=first.rule,
        nearest=Nearest(expert_id=first.expert_id, constraint=first.rule, missed_by=None, detail=first.detail),
        message=f"infeasible: {first.rule}; no service of type '{asking.service_type}' may serve now; "
        f"nearest: {first.expert_id} ({first.detail})",
        rejections=tuple(rejected),
        features=features,
        strategy=asking.strategy,
        created_at=now,
        policy_version=board.policy.version,
        registry_digest=board.columns.digest,
    )


def _candidate(service: Service, part: float) -> Candidate:
    return Candidate(
        expert_id=service.service_id,
        provider=service.provider,
        tier=service.tier,
        score=part * 100.0,
        ranking=part,
        quality=service.quality,
        cost_usd=0.0,
        latency_ms=service.latency_ms,
    )
