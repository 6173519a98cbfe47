"""Groups: several experts for one task, and the judge of their answers (seed 001's hybrid router).

Members are taken by quality, another provider before the same one again; the judge is the best expert outside the
group, for whom the quality floor does not bind. Where the budget does not pay for all, whoever costs most is left out
and the next best takes the place.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from crew_moe.domain.decision import Group
from crew_moe.domain.policy import ParallelPolicy
from crew_moe.domain.request import Parallel, RoutingRequest
from crew_moe.domain.task import TaskPreference

MIN_MEMBERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An expert that may join or judge. `cost_nano` is the upper end of its predicted cost."""

    expert_id: str
    provider: str
    quality: float
    cost_nano: float


def wanted_group(request: RoutingRequest, task: TaskPreference, policy: ParallelPolicy) -> Parallel | None:
    """What kind of group a request with `parallel` asks for; None where `auto` finds no trigger."""
    asked = request.parallel
    if isinstance(asked, Parallel):
        return asked
    if asked == "auto" and not _triggered(request, task, policy):
        return None
    return Parallel.model_validate({"experts": policy.experts, "consensus": policy.consensus})


def _triggered(request: RoutingRequest, task: TaskPreference, policy: ParallelPolicy) -> bool:
    demanding = request.min_quality is not None and request.min_quality >= policy.min_quality
    funded = request.budget_usd is not None and request.budget_usd >= policy.min_budget_usd
    return task.critical or request.critical or (demanding and funded)


def form_group(
    asked: Parallel, members: Sequence[Member], judges: Sequence[Member], budget_nano: float | None
) -> Group | None:
    """The group and its judge, or None when fewer than two experts are eligible or paid for."""
    dear: set[str] = set()
    while True:
        chosen = _diverse(_without(dear, members), asked.experts)
        if len(chosen) < MIN_MEMBERS:
            return None
        judge = _judge(chosen, _without(dear, judges)) if asked.consensus == "judge" else None
        paid = [*chosen, judge] if judge else chosen
        if budget_nano is None or sum(member.cost_nano for member in paid) <= budget_nano:
            break
        dear.add(max(paid, key=lambda member: member.cost_nano).expert_id)
    return Group(
        experts=tuple(member.expert_id for member in chosen),
        judge=judge.expert_id if judge else None,
        consensus=asked.consensus,
        reason=f"{len(chosen)} experts by quality, other providers first",
    )


def _without(left_out: Set[str], members: Sequence[Member]) -> list[Member]:
    return [member for member in members if member.expert_id not in left_out]


def _diverse(members: Sequence[Member], count: int) -> list[Member]:
    """The best by quality, taking providers that are not in the group yet first."""
    left = sorted(members, key=lambda member: (-member.quality, member.cost_nano, member.expert_id))
    chosen: list[Member] = []
    while left and len(chosen) < count:
        present = {member.provider for member in chosen}
        following = next((member for member in left if member.provider not in present), left[0])
        chosen.append(following)
        left.remove(following)
    return chosen


def _judge(chosen: Sequence[Member], judges: Sequence[Member]) -> Member | None:
    inside = {member.expert_id for member in chosen}
    outside = [member for member in judges if member.expert_id not in inside]
    return max(outside, key=lambda member: (member.quality, -member.cost_nano), default=None)
