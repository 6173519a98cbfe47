"""A slate: the eligible experts of one request as a sequence of candidates, made one by one as they are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np

from crew_moe.domain.decision import Candidate
from crew_moe.domain.money import NANO
from crew_moe.routing.columns import Bools, Floats, Ints
from crew_moe.routing.lane import STAND_BY, Field, Roster


class Slate(Sequence[Candidate]):
    """Candidates that fit the request's sizes, in the order of their ids; all of them, or those at `positions`."""

    __slots__ = ("_field", "_positions", "_roster")

    def __init__(self, roster: Roster, field: Field, positions: Ints | None = None) -> None:
        self._roster = roster
        self._field = field
        self._positions = (fitting(field) if positions is None else positions).tolist()

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, index: int) -> Candidate: ...
    @overload
    def __getitem__(self, index: slice) -> list[Candidate]: ...
    def __getitem__(self, index: int | slice) -> Candidate | list[Candidate]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        position, roster, field = self._positions[index], self._roster, self._field
        return Candidate(
            expert_id=roster.ids[position],
            provider=roster.providers[position],
            tier=roster.tiers[position],
            score=float(field.score[position]),
            ranking=float(field.ranking[position]),
            quality=roster.quality[position],
            cost_usd=float(field.cost[position]) / NANO,
            latency_ms=roster.latency_ms[position],
        )


def fitting(field: Field) -> Ints:
    """Positions of the experts that fit the sizes."""
    if field.fits is None:
        return np.arange(len(field.score), dtype=np.int64)
    return np.flatnonzero(field.fits).astype(np.int64)


def leading(field: Field) -> Ints:
    """Positions of the experts that fit and don't stand by; of all that fit where only those are left."""
    fit = fitting(field)
    first = fit[(field.score - field.ranking)[fit] < STAND_BY / 2]
    return first if len(first) else fit


def masked(ranking: Floats, fits: Bools | None) -> Floats:
    """Ranking in which those that do not fit come last of all."""
    return ranking if fits is None else np.where(fits, ranking, -np.inf)
