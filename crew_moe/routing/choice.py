"""The choice among eligible experts: the strategy's pick, with the policy's exploration mixed in."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import NamedTuple

from crew_moe.domain.decision import Pick
from crew_moe.domain.policy import Policy
from crew_moe.domain.request import RoutingRequest
from crew_moe.ports import StrategyContext
from crew_moe.routing.lane import Field, Roster
from crew_moe.routing.slate import Slate, leading, masked
from crew_moe.strategies import STRATEGIES


class Choice(NamedTuple):
    """Position in the roster, the probability that it had, and a word of why (empty for the highest ranking)."""

    position: int
    propensity: float
    reason: str


def is_greedy(request: RoutingRequest, policy: Policy) -> bool:
    """Whether the highest ranking is the answer, so that no candidate needs to be looked at."""
    strategy = STRATEGIES.get(request.strategy or policy.strategy)
    return policy.exploration.rate == 0.0 and getattr(strategy, "greedy", False)


def choose_highest(field: Field) -> Choice | None:
    """The highest ranking that fits, of equals the first; None when nobody fits."""
    if not len(field.ranking):
        return None
    position = int(field.ranking.argmax())
    if field.fits is not None and not field.fits[position]:
        position = int(masked(field.ranking, field.fits).argmax())
        if not field.fits[position]:
            return None
    return Choice(position, 1.0, "")


def choose_by(strategy: str, roster: Roster, field: Field, context: StrategyContext, seed: int) -> Choice:
    """Ask a strategy; the same seed gives the same answer."""
    rng = Random(seed)
    slate = Slate(roster, field, leading(field))
    pick = explored(STRATEGIES[strategy].select(context, slate, rng), slate, context.policy.exploration.rate, rng)
    return Choice(roster.ids.index(pick.expert_id), pick.propensity, pick.reason)


def chances_by(strategy: str, roster: Roster, field: Field, context: StrategyContext, seed: int) -> dict[str, float]:
    """With which probability `choose_by` takes each expert, by id; those that can't be taken are left out.

    For a strategy that draws from what the seed gives, as Thompson sampling does, the probabilities of that seed. Empty
    for one that leaves its pick to chance and does not tell how.
    """
    rng, slate, chooser = Random(seed), Slate(roster, field, leading(field)), STRATEGIES[strategy]
    told = getattr(chooser, "chances", None)
    if told is not None:
        shares = dict(zip((one.expert_id for one in slate), told(context, slate, rng), strict=True))
    else:
        pick = chooser.select(context, slate, rng)
        shares = {pick.expert_id: pick.propensity}
        if pick.propensity < 1.0:
            return {}
    rate = context.policy.exploration.rate
    if rate and max(shares.values()) >= 1.0:  # as in `explored`
        return mixed(shares, slate, rate)
    return {expert_id: share for expert_id, share in shares.items() if share > 0.0}


def mixed(shares: Mapping[str, float], slate: Slate, rate: float) -> dict[str, float]:
    """The shares with so much of a uniform choice in them."""
    uniform = rate / len(slate)
    return {one.expert_id: (1.0 - rate) * shares.get(one.expert_id, 0.0) + uniform for one in slate}


def explored(pick: Pick, slate: Slate, rate: float, rng: Random) -> Pick:
    """With probability `rate` a uniform choice instead; the propensity counts both ways to the same expert.

    A strategy that left its pick to chance explores by itself and is left alone.
    """
    if rate == 0.0 or pick.propensity < 1.0:
        return pick
    uniform = rate / len(slate)
    if rng.random() >= rate:
        kept = (1.0 - rate) * pick.propensity + uniform
        return Pick(expert_id=pick.expert_id, propensity=kept, reason=pick.reason)
    chosen = slate[rng.randrange(len(slate))].expert_id
    by_strategy = (1.0 - rate) * pick.propensity if chosen == pick.expert_id else 0.0
    return Pick(expert_id=chosen, propensity=by_strategy + uniform, reason="exploration")
