"""The decision: one request, one board, one answer. Pure: the clock, the id and the seed are passed in.

`decide` takes a Board rather than registry, policy and snapshot apart: laying those out is most of the work, and it
is done once per snapshot instead of once per request.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from crew_moe.domain.access import NO_DEMANDS, Demands
from crew_moe.domain.decision import Decision, Group, Infeasible
from crew_moe.domain.features import Features
from crew_moe.domain.insight import Insight
from crew_moe.domain.request import RoutingRequest
from crew_moe.errors import InvalidRequest, UnknownExpert
from crew_moe.ports import StrategyContext
from crew_moe.routing.board import Board
from crew_moe.routing.choice import Choice, choose_by, choose_highest, is_greedy
from crew_moe.routing.features import extract
from crew_moe.routing.group import Member, form_group, wanted_group
from crew_moe.routing.informed import informed, is_informed
from crew_moe.routing.lane import Field, Lane
from crew_moe.routing.needs import Asked, Terms, likeness_of, terms_of
from crew_moe.routing.rejections import infeasible_message, nearest_miss, rejections
from crew_moe.routing.ruling import Grounds, Ruling, ruled
from crew_moe.routing.slate import leading
from crew_moe.strategies import STRATEGIES

NewSeed = Callable[[], int]


def decide(
    request: RoutingRequest,
    board: Board,
    *,
    decision_id: str,
    now: datetime,
    new_seed: NewSeed,
    features: Features | None = None,
    demands: Demands = NO_DEMANDS,
    insight: Insight | None = None,
) -> Decision | Infeasible:
    """The expert for one request, or why there is none.

    `new_seed` is asked for a seed only when chance is involved and the request brings none. `features` are those of
    the request where somebody took them already; `demands` is what access rules, screening and the gate add to it;
    `insight` is what learning predicts of it.
    Raises InvalidRequest and UnknownExpert for a request that names what does not exist.
    """
    if features is None:
        features = extract(request)
    lane, asked = lane_for(request, features, board, now, demands)
    strategy = request.strategy or board.policy.strategy
    if insight is not None and is_informed(strategy):
        lane = informed(lane, insight)
    terms = terms_of(request, features, board.policy)
    field = lane.figures.judge(*terms)
    choice = choose_highest(field)
    if choice is None:
        grounds = Grounds(lane, terms, asked)
        return _refuse(board, grounds, features, strategy=strategy, decision_id=decision_id, now=now)
    seed = request.seed
    group = _group(request, board, lane, field, terms) if request.parallel else None
    if group is not None:
        choice = Choice(lane.roster.ids.index(group.experts[0]), 1.0, group.reason)
    elif not is_greedy(request, board.policy):
        seed = new_seed() if seed is None else seed
        choice = choose_by(strategy, lane.roster, field, _context(request, features, board, now, insight), seed)
    return Decision(
        decision_id=decision_id,
        expert_id=lane.expert_at(choice.position),
        score=float(field.score[choice.position]),
        strategy=strategy,
        propensity=choice.propensity,
        created_at=now,
        basis=ruled(
            Ruling(
                lane, features, terms, choice.position, choice.reason, seed, request.fallbacks, group, asked, insight
            ),
            field,
        ),
    )


def refuse(
    request: RoutingRequest, board: Board, binding: str, reason: str, *, decision_id: str, now: datetime
) -> Infeasible:
    """The answer to a request that no expert was judged for, because `binding` rules all of them out."""
    return Infeasible(
        decision_id=decision_id,
        binding=str(binding),
        nearest=None,
        message=f"infeasible: {reason}",
        rejections=(),
        features=extract(request),
        strategy=request.strategy or board.policy.strategy,
        created_at=now,
        policy_version=board.policy.version,
        registry_digest=board.columns.digest,
    )


def lane_for(
    request: RoutingRequest, features: Features, board: Board, now: datetime, demands: Demands = NO_DEMANDS
) -> tuple[Lane, Asked]:
    """The lane of a request, and what it asks for. What was asked before is found by its likeness, without working the
    needs out again.
    """
    likeness = likeness_of(request, features, board.policy, demands)
    found = board.alike.get(likeness)
    if found is None:
        check_names(request, board)
        found = board.remember(likeness, board.lane(board.needs(request, features, now, demands)))
    return found


def check_names(request: RoutingRequest, board: Board) -> None:
    """Raise for a strategy, provider or expert that does not exist."""
    for name in request.preferred_providers:
        if name not in board.columns.providers:
            raise InvalidRequest(
                f"unknown provider '{name}'",
                where="preferred_providers",
                value=name,
                allowed=board.registry.providers,
            )
    if request.strategy is not None and request.strategy not in STRATEGIES:
        raise InvalidRequest(
            f"unknown strategy '{request.strategy}'",
            where="strategy",
            value=request.strategy,
            allowed=sorted(STRATEGIES),
        )
    registry, tenant = board.registry, request.tenant
    named = [("pin", request.pin)] if request.pin is not None else []
    for where, name in (*named, *(("fallbacks", name) for name in request.fallbacks or ())):
        if name not in registry or registry.hides(name, tenant):
            raise UnknownExpert(name, registry.seen_by(tenant), where=where)


def _refuse(
    board: Board, grounds: Grounds, features: Features, *, strategy: str, decision_id: str, now: datetime
) -> Infeasible:
    """The typed answer when nobody may serve: what binds, and who missed it by least."""
    lane, terms, _ = grounds
    nearest = nearest_miss(lane, terms)
    return Infeasible(
        decision_id=decision_id,
        binding=nearest.constraint if nearest else "registry",
        nearest=nearest,
        message=infeasible_message(lane.needs, terms, nearest),
        rejections=rejections(lane, terms),
        features=features,
        strategy=strategy,
        created_at=now,
        policy_version=board.policy.version,
        registry_digest=board.columns.digest,
        basis=grounds,
    )


def _context(
    request: RoutingRequest, features: Features, board: Board, now: datetime, insight: Insight | None
) -> StrategyContext:
    return StrategyContext(
        features=features,
        policy=board.policy,
        tier=request.tier,
        tenant=request.tenant,
        session_key=request.session_key,
        now=now,
        insight=insight,
    )


def _group(request: RoutingRequest, board: Board, lane: Lane, field: Field, terms: Terms) -> Group | None:
    policy = board.policy
    asked = wanted_group(request, policy.tasks[lane.needs.task_type], policy.parallel)
    if asked is None:
        return None
    # The quality floor holds for those who answer, not for the one who judges.
    bench = board.lane(lane.needs._replace(min_quality=None))
    judging = bench.figures.judge(*terms)
    return form_group(asked, _members(lane, field), _members(bench, judging), terms.budget_nano)


def _members(lane: Lane, field: Field) -> list[Member]:
    roster = lane.roster
    return [
        Member(
            expert_id=roster.ids[position],
            provider=roster.providers[position],
            quality=roster.quality[position],
            cost_nano=float(field.cost[position]) * lane.figures.margin,
        )
        for position in leading(field).tolist()
    ]
