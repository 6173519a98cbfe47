"""Hindsight: the decisions of a log as rounds that tell what one expert for everything would have been worth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import numpy as np

from crew_moe.domain.policy import Policy
from crew_moe.learning.episodes import UNREADABLE, Row
from crew_moe.learning.logged import Chances, Choice, LeftOut, Reading
from crew_moe.learning.ope import Rounds, cross_fitted
from crew_moe.learning.regret import Bools, EstimatedRegret, Floats, estimated_regret
from crew_moe.learning.rewards import Rewards
from crew_moe.learning.untold import Untold, Why
from crew_moe.routing.record import chances_in, eligible_in

NEEDED: Final = frozenset({"ok", "decision_id", "task_type", "features", "figures", "roster", "sizes", "propensity"})


class Hindsight:
    """Takes rows on their way to somebody else.

    `policy` is the one in force: the chances of strategies that read it can be worked out where it was theirs too.
    """

    def __init__(self, policy: Policy) -> None:
        self._reading = Reading(then=partial(chances_in, policy=policy), now=_anybody)

    def seen(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The same rows; one that says too little for a round is passed on all the same."""
        for row in rows:
            with suppress(*UNREADABLE):
                self._reading.take(row)
            yield row

    def regret(self, rewards: Rewards, wanted: frozenset[str], rng: np.random.Generator) -> EstimatedRegret | Untold:
        """Over the decisions of these ids."""
        rounds = [
            (choice, came.reward)
            for choice, came in self._reading.joined(rewards).rounds
            if came.reward is not None and choice.decision_id in wanted
        ]
        if not rounds:
            message = "of no decision is it known both how likely it was and what it was worth"
            return Untold(why=Why.NOT_OBSERVED, message=message)
        choices = [choice for choice, _ in rounds]
        experts = sorted({name for choice in choices for name in (*choice.logging, *choice.candidate)})
        logging = _table([choice.logging for choice in choices], experts)
        eligible: Bools = _table([choice.candidate for choice in choices], experts) > 0.0
        made = Rounds(
            action=np.array([experts.index(choice.expert_id) for choice in choices], dtype=np.int64),
            reward=np.array([reward for _, reward in rounds]),
            propensity=np.array([choice.logging[choice.expert_id] for choice in choices]),
            arms=len(experts),
            logging=logging,
        )
        return estimated_regret(made, experts, eligible, cross_fitted(made, _context(choices), rng))


def _anybody(row: Row) -> Chances | LeftOut:
    """Equal chances for all who could have been chosen: so the round names them."""
    if not row.keys() >= NEEDED:
        return LeftOut.UNTOLD
    able = eligible_in(row)
    return dict.fromkeys(able, 1.0 / len(able)) if able else LeftOut.UNTOLD


def _table(shares: Sequence[Mapping[str, float]], experts: Sequence[str]) -> Floats:
    """(rounds, experts)"""
    return np.array([[row.get(name, 0.0) for name in experts] for row in shares])


def _context(choices: Sequence[Choice]) -> Floats:
    """(rounds, features)"""
    names = sorted({name for choice in choices for name in choice.context})
    return np.array([[choice.context.get(name, 0.0) for name in names] for choice in choices])
