"""A lane: everything about one set of needs that does not depend on the size of a request.

It holds the experts that pass the constraints of eligibility.STATIC, with their points and prices, so that deciding
is a handful of operations over the few that are left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from crew_moe.domain.expert import Tier
from crew_moe.domain.money import NANO_PER_TOKEN_AT_1_USD_PER_MTOK
from crew_moe.routing.columns import Bools, Floats, Ints
from crew_moe.routing.cost import Prices, cost_of, prices_of
from crew_moe.routing.eligibility import (
    BUDGET,
    LASTING,
    PRECEDENCE,
    TENANT,
    Miss,
    Scene,
    has_room,
    standing_by,
    static_misses,
)
from crew_moe.routing.needs import Needs
from crew_moe.routing.scoring import Base, FixedPoints, base_points, fixed_points, scaled

TIER_STEP = 1_000.0  # more than all points together: a wanted tier comes before any score
STAND_BY = 10_000.0  # more than all tiers together
TIERS = tuple(Tier)
BEFORE_CONTEXT = "capability"  # the one rule between the budget's and the window's


class Field(NamedTuple):
    """Who stands where for one request (experts,) or many (requests, experts). Cost in nano-USD, points 0-100."""

    cost: Floats
    score: Floats
    ranking: Floats
    fits: Bools | None


class Figures(NamedTuple):
    """Every number that a choice among eligible experts is made from; arrays are (experts,), prices nano-USD.

    `offset` is what ranks an expert lower whatever its points: a tier above the one wanted, a place among the
    fallbacks, None where it would be zero throughout; `narrowest` is the smallest window.

    The same lines judge one request (sizes are numbers) and many (sizes are columns of shape (requests, 1)); with
    + - x / in one order both give the same bits.
    """

    prices: Prices
    base: Floats
    windows: Floats
    offset: Floats | None
    narrowest: float
    cost_points: float
    reference_nano: float
    margin: float

    def judge(
        self,
        input_tokens: float | Floats,
        output_tokens: float | Floats,
        budget_nano: float | Floats | None,
        widest: float | None = None,
    ) -> Field:
        """Judge every expert for the given sizes, of which `widest` is the largest sum (needed for columns).

        `fits` is None when all fit, which spares the masks.
        """
        needed = input_tokens + output_tokens
        reference = needed * self.reference_nano
        cost = cost_of(self.prices, input_tokens, output_tokens)
        score = self.base + (self.cost_points * reference) / (cost + reference)
        ranking = score if self.offset is None else score - self.offset
        fits = None
        if (needed if widest is None else widest) > self.narrowest:
            fits = self.windows >= needed
        if budget_nano is not None:
            affordable = cost <= budget_nano / self.margin
            fits = affordable if fits is None else fits & affordable
        return Field(cost, score, ranking, fits)


class Roster(NamedTuple):
    """Who the figures are about, in the same order."""

    ids: tuple[str, ...]
    providers: tuple[str, ...]
    tiers: tuple[str, ...]
    quality: tuple[float, ...]
    latency_ms: tuple[float, ...]


class Open(NamedTuple):
    """An expert that no rule before the budget's turns away. `rule` is the first one that does, whatever the sizes;
    prices are nano-USD per token.
    """

    rule: str
    per_input: float
    per_output: float
    constant: float
    window: float


class Census(NamedTuple):
    """`settled` counts those who are out by a rule that comes before any size, `rows` are all others. `plain` are the
    counts of all where there is no budget and the request fits into the `narrowest` window.
    """

    settled: Mapping[str, int]
    rows: tuple[Open, ...]
    narrowest: float
    plain: Sequence[tuple[str, int]]


@dataclass(frozen=True, kw_only=True)
class Lane:
    """Eligible experts for one set of needs. `members` are their registry positions."""

    scene: Scene
    members: Ints
    figures: Figures
    points: Base

    @property
    def needs(self) -> Needs:
        return self.scene.needs

    def expert_at(self, position: int) -> str:
        expert_id: str = self.scene.columns.ids[self.members[position]]
        return expert_id

    @cached_property
    def misses(self) -> tuple[tuple[int, Miss], ...]:
        """Why the others are not members, by registry position."""
        return static_misses(self.scene)

    @cached_property
    def census(self) -> Census:
        """Who is out whatever the sizes, and whom a size may turn away."""
        settled: dict[str, int] = {}
        rows, ranks = [], _first_ranks(self.misses)
        prices, windows = prices_of(self.scene.columns, self.scene.experience), windows_of(self.scene).tolist()
        constants = [0.0] * len(windows) if prices.constant is None else prices.constant.tolist()
        columns = zip(prices.per_input.tolist(), prices.per_output.tolist(), constants, windows, strict=True)
        for index, figures in enumerate(columns):
            rank = ranks.get(index)
            rule = "" if rank is None else PRECEDENCE[rank]
            if rank is not None and rank < PRECEDENCE.index(BUDGET):
                settled[rule] = settled.get(rule, 0) + 1
            else:
                rows.append(Open(rule, *figures))
        settled.pop(TENANT, None)  # nobody is told of what belongs to others
        plain = dict(settled)
        for row in rows:
            if row.rule:
                plain[row.rule] = plain.get(row.rule, 0) + 1
        return Census(settled, tuple(rows), min(windows, default=0.0), by_count(plain))

    @cached_property
    def roster(self) -> Roster:
        """Who the members are; worked out when somebody asks, as a choice by figures does not."""
        columns, positions = self.scene.columns, self.members.tolist()
        return Roster(
            ids=tuple(columns.ids[position] for position in positions),
            providers=tuple(columns.providers[position] for position in positions),
            tiers=tuple(TIERS[int(columns.tier[position])] for position in positions),
            quality=tuple(columns.quality[self.members].tolist()),
            latency_ms=tuple(columns.latency_ms[self.members].tolist()),
        )


def by_count(counts: Mapping[str, int]) -> Sequence[tuple[str, int]]:
    """Rules and how many each turned away, most first."""
    return sorted(counts.items(), key=lambda pair: (-pair[1], PRECEDENCE.index(pair[0])))


def _first_ranks(misses: Iterable[tuple[int, Miss]]) -> Mapping[int, int]:
    """The place in the precedence of the first rule that each expert fails, by registry position."""
    ranks: dict[int, int] = {}
    for index, miss in misses:
        rank = PRECEDENCE.index(miss.rule)
        ranks[index] = min(ranks.get(index, rank), rank)
    return ranks


class Frame(NamedTuple):
    """What a set of needs fixes whatever was learned since: it outlives snapshots. Each (experts,)."""

    eligible: Bools
    fixed: FixedPoints
    windows: Floats
    offset: Floats | None


def frame_of(scene: Scene) -> Frame:
    """Work out the frame of one set of needs."""
    eligible = scene.columns.everyone
    for constraint in LASTING:
        allowed = constraint.allows(scene)
        if allowed is not scene.columns.everyone:
            eligible = eligible & allowed
    return Frame(eligible, fixed_points(scene), windows_of(scene), _offset(scene))


def lane_of(scene: Scene, frame: Frame) -> Lane:
    """Work out the lane of one set of needs from its frame and what the scene knows now."""
    closed = scene.closed_circuit
    eligible = frame.eligible if closed is scene.columns.everyone else frame.eligible & closed
    if scene.busy:
        eligible = eligible & has_room(scene)
    members = np.flatnonzero(eligible)
    points = Base(*(column[members] for column in base_points(scene, frame.fixed)))
    return Lane(scene=scene, members=members, figures=_figures(scene, frame, members, points.total), points=points)


def _figures(scene: Scene, frame: Frame, members: Ints, base: Floats) -> Figures:
    policy = scene.policy
    prices = prices_of(scene.columns, scene.experience)
    windows = frame.windows[members]
    return Figures(
        prices=prices.of(members),
        base=base,
        windows=windows,
        offset=None if frame.offset is None else frame.offset[members],
        narrowest=min(windows.tolist(), default=0.0),
        cost_points=scaled(policy.weights).cost,
        reference_nano=policy.cost.reference_usd_per_mtok * NANO_PER_TOKEN_AT_1_USD_PER_MTOK,
        margin=1.0 + policy.cost.spread,
    )


def _offset(scene: Scene) -> Floats | None:
    """What ranks each expert lower whatever its points; None where nothing does."""
    behind = standing_by(scene)
    wanted = scene.needs.tier
    if wanted is None and not behind.any():
        return None
    offset: Floats = np.where(behind, STAND_BY, 0.0)
    return offset if wanted is None else offset + (scene.columns.tier - wanted) * TIER_STEP


def windows_of(scene: Scene) -> Floats:
    """Context windows of all experts, narrowed by the profile asked for."""
    profile = scene.policy.profiles.get(scene.needs.profile) if scene.needs.profile else None
    if profile is None or profile.context_window is None:
        return scene.columns.window
    return np.minimum(scene.columns.window, float(profile.context_window))
