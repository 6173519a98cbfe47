"""`rule`: the first rule of the policy that matches names the expert."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from crew_moe.domain.decision import Candidate, Pick
from crew_moe.domain.features import Features
from crew_moe.domain.policy import Match
from crew_moe.ports import StrategyContext


@dataclass(frozen=True, slots=True)
class FirstRule:
    """Walk policy.rules in order; the first that matches and names an eligible expert decides (seed 002's baseline).

    When no rule does, the highest ranking serves and the reason says so.
    """

    greedy: ClassVar[bool] = False

    def select(self, context: StrategyContext, candidates: Sequence[Candidate], rng: Random) -> Pick:  # noqa: ARG002 - as asked
        eligible = {candidate.expert_id for candidate in candidates}
        for rule in context.policy.rules:
            if matches(rule.when, context.features, context.tier, context.tenant):
                chosen = next((expert_id for expert_id in rule.use if expert_id in eligible), None)
                if chosen is not None:
                    return Pick(expert_id=chosen, propensity=1.0, reason=f"rule '{rule.name}'")
        best = max(candidates, key=lambda candidate: candidate.ranking)
        return Pick(expert_id=best.expert_id, propensity=1.0, reason="no rule names an eligible expert; best score")


def matches(when: Match, features: Features, tier: str | None, tenant: str | None) -> bool:
    """Whether every condition that is set holds."""
    memberships = (
        (when.task_types, features.task_type),
        (when.tiers, tier),
        (when.risks, features.risk),
        (when.urgencies, features.urgency),
        (when.scripts, features.script),
        (when.tenants, tenant),
    )
    if any(allowed and value not in allowed for allowed, value in memberships):
        return False
    low = 0 if when.min_input_tokens is None else when.min_input_tokens
    if features.input_tokens < low:
        return False
    if when.max_input_tokens is not None and features.input_tokens > when.max_input_tokens:
        return False
    return when.has_code is None or when.has_code == (features.code_marks > 0)
