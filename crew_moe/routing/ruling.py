"""A ruling: what one decision was made from, and everything that can be read out of it later.

It keeps the lane and the sizes, some hundred bytes, never the text. Each property works its answer out anew from
those, so a decision that nobody asks to explain itself costs nothing more, and one that is asked always says the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from crew_moe.domain.decision import Candidate, CostRange, Group, Rejection
from crew_moe.domain.features import Features
from crew_moe.domain.insight import Insight
from crew_moe.routing.cost import cost_range
from crew_moe.routing.explain import rationale
from crew_moe.routing.fallbacks import choose_fallbacks
from crew_moe.routing.lane import Field, Lane
from crew_moe.routing.needs import Asked, Terms
from crew_moe.routing.rejections import rejections
from crew_moe.routing.scoring import factor_points
from crew_moe.routing.slate import Slate, fitting

CLEAR_LEAD: Final = 10.0  # points


class Grounds(NamedTuple):
    """What a refusal was made from."""

    lane: Lane
    terms: Terms
    asked: Asked


class Ruling(NamedTuple):
    """Implements domain.decision.Basis. `position` is the chosen member of the lane, `reason` a word of the strategy's.

    `fallbacks_asked` is the user's own list, None when there is none. `asked` is what the first request of this kind
    asked for, as all others of its kind did; `insight` what learning predicted.
    """

    lane: Lane
    features: Features
    terms: Terms
    position: int
    reason: str
    seed: int | None
    fallbacks_asked: tuple[str, ...] | None
    group: Group | None
    asked: Asked
    insight: Insight | None = None

    @property
    def field(self) -> Field:
        """Whoever asks for one property asks for the next: the field that was judged last is kept."""
        known = _judged
        if known.ruling is self and known.field is not None:
            return known.field
        field = self.lane.figures.judge(*self.terms)
        _keep(_Judged(self, field))
        return field

    @property
    def policy_version(self) -> str:
        return self.lane.scene.policy.version

    @property
    def registry_digest(self) -> str:
        return self.lane.scene.columns.digest

    @property
    def expert_id(self) -> str:
        return self.lane.expert_at(self.position)

    @property
    def profile_id(self) -> str:
        """The profile asked for, else the expert's own default: its id."""
        return self.lane.needs.profile or self.expert_id

    @property
    def tier(self) -> str:
        return self.lane.roster.tiers[self.position]

    @property
    def expected_nano(self) -> float:
        return float(self.field.cost[self.position])

    @property
    def cost(self) -> CostRange:
        return cost_range(self.expected_nano, self.lane.scene.policy.cost.spread)

    @property
    def confidence(self) -> float:
        """How sure the choice is, 0-1: by its lead over the next best, the record behind it and the inferred task."""
        known = _judged
        if known.ruling is self and known.confidence is not None:
            return known.confidence
        field, chosen = self.field, self.position
        ranking = field.ranking.tolist()
        fit = range(len(ranking)) if field.fits is None else fitting(field).tolist()
        rivals = [ranking[position] for position in fit if position != chosen]
        lead = CLEAR_LEAD if not rivals else ranking[chosen] - max(rivals)
        trusted = float(self.lane.scene.experience.trusted[self.lane.members[chosen]])
        clear = min(1.0, max(0.0, lead / CLEAR_LEAD))
        sure = self.features.task_confidence * (0.5 + 0.3 * clear + 0.2 * trusted)
        _keep(_Judged(self, field, sure))
        return sure

    @property
    def fallbacks(self) -> tuple[str, ...]:
        return choose_fallbacks(self.lane, self.field, self.position, self.fallbacks_asked)

    @property
    def factors(self) -> Mapping[str, float]:
        position = self.position
        by_cost = float(self.field.score[position] - self.lane.figures.base[position])
        return factor_points(self.lane.points, position, by_cost)

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        return rejections(self.lane, self.terms)

    @property
    def candidates(self) -> Sequence[Candidate]:
        return Slate(self.lane.roster, self.field)

    @property
    def rationale(self) -> str:
        return rationale(self)


def ruled(ruling: Ruling, field: Field) -> Ruling:
    """The ruling, with the field that it was made from at hand for whoever reads it at once."""
    _keep(_Judged(ruling, field))
    return ruling


class _Judged(NamedTuple):
    """What is at hand of the ruling that was read last. Replaced as a whole, so that threads see one or another."""

    ruling: Ruling | None = None
    field: Field | None = None
    confidence: float | None = None


_judged = _Judged()


def _keep(judged: _Judged) -> None:
    global _judged
    _judged = judged
