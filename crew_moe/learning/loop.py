"""The loop that bandits learn by: from what came of a decision to the arm of the expert who answered.

Each answer counts once, whoever tells of it and in however many parts; what was learned is in pages that all share.
Learning fails open: a store that can't be reached is an event, and what was to be learned is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np

from crew_moe.domain.policy import LearningPolicy
from crew_moe.errors import StateError
from crew_moe.learning.arm_pages import ArmPages, Lesson
from crew_moe.learning.context import SIZE
from crew_moe.learning.hearing import Hearing
from crew_moe.learning.hearings import Heard, Hearings
from crew_moe.learning.price import PricePage
from crew_moe.learning.rewards import Facts, Rewards
from crew_moe.ports import Clock, EventSink, PageStore

Row = Mapping[str, Any]


class Loop:
    """Teaches the arms. Never raises StateError."""

    def __init__(
        self, pages: PageStore, *, policy: LearningPolicy, rewards: Rewards, clock: Clock, sink: EventSink
    ) -> None:
        self._hearings = Hearings(pages)
        self._arms = ArmPages(pages, policy.bandit)
        self._price = None if policy.horizon is None else PricePage(pages, policy.horizon)
        self._rewards = rewards
        self._clock = clock
        self._sink = sink

    def served(self, row: Row, facts: Facts, cost_usd: float | None) -> None:
        """The call's own facts of an answer that the decision of `row` led to, and its cost; None: as estimated."""
        spent_usd = float(row["estimated_cost_usd"]) if cost_usd is None else cost_usd
        self._hear(row, facts.expert_id, lambda hearing: hearing.served(facts, spent_usd))

    def judged(self, row: Row, facts: Facts, voice: str, share: float) -> None:
        """What a voice says of the answer, and how much it counts."""
        self._hear(row, facts.expert_id, lambda hearing: hearing.judged(voice, facts, share))

    def _hear(self, row: Row, expert_id: str, change: Callable[[Hearing], Hearing]) -> None:
        insight = row.get("insight")
        if not insight or len(insight["vector"]) != SIZE:
            return  # decided without a context to learn on, or with one of another version
        now = self._clock.now()
        try:
            clock = self._arms.clock(now)
            likely = expected(row, expert_id)
            heard = self._heard(row, expert_id, change, likely, clock, now)
            if heard is None:
                return
            self._charge(heard, now)
            lesson = lesson_of(heard, likely, clock)
            if lesson is not None:
                self._arms.teach(expert_id, np.array(insight["vector"]), lesson, now)
        except (StateError, np.linalg.LinAlgError) as error:  # numbers that nobody can invert teach nothing
            self._sink.emit("learning_failed", decision_id=row["decision_id"], error=str(error))

    def _charge(self, heard: Heard, now: datetime) -> None:
        """Tell the horizon's price what was spent on this answer, once; a bill that changes, by how much."""
        before, after = heard.before.spent_usd, heard.after.spent_usd
        if self._price is None or after is None or after == before:
            return
        if before is None:
            self._price.charge(after, now)
        else:
            self._price.correct(after - before, now)

    def _heard(
        self,
        row: Row,
        expert_id: str,
        change: Callable[[Hearing], Hearing],
        likely: float,
        clock: float,
        now: datetime,
    ) -> Heard | None:
        def told(hearing: Hearing) -> Hearing:
            after = change(hearing)
            worth = after.worth(self._rewards, likely)
            since = hearing.clock if hearing.told.weight > 0.0 else clock
            return replace(after, told=worth, clock=since)

        decided_at = datetime.fromisoformat(row["created_at"])
        return self._hearings.change(row["decision_id"], expert_id, decided_at, told, now)


def lesson_of(heard: Heard, expected: float, clock: float) -> Lesson | None:
    """What the arm is to be told, so that it knows what is known now; None for nothing new.

    Rewards are told as what they are beyond what was `expected` of the expert.
    """
    before, after = heard.before.told, heard.after.told
    weight = max(0.0, after.weight - before.weight)
    reward = after.value - expected
    change = after.weight * reward - before.weight * (before.value - expected) - weight * reward
    if not weight and not change:
        return None
    return Lesson(weight, reward, change, max(0.0, clock - heard.after.clock))


def expected(row: Row, expert_id: str) -> float:
    """What was expected of an expert when the decision was made: its predicted quality, else the catalogue's. So arms
    learn how far it misses that, and begin with it (the bandits' warm start).
    """
    quality: Mapping[str, float] = row["insight"]["quality"]
    if expert_id in quality:
        return float(quality[expert_id])
    roster = row.get("roster") or {}
    known = dict(zip(roster.get("ids", ()), roster.get("quality", ()), strict=True))
    return float(known.get(expert_id, 0.5))
