"""The oracle: routing and a layer written as naively as they can be, one token after another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from crew_moe.local_gate.layer import Capacity, Overflow, Priority, Rounding, Weighting

Place = tuple[int, int]  # token, expert


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """Top-k routing of the tokens whose number is in `live`; `length` tokens make a sequence."""

    k: int
    weighting: Weighting
    capacity: Capacity | None = None

    def wanted(self, logits: Sequence[Sequence[float]], live: Sequence[bool]) -> list[tuple[int, int, int]]:
        """(token, rank, expert) in the tokens' order."""
        found = []
        for token in (number for number, there in enumerate(live) if there):
            best = sorted(range(len(logits[token])), key=lambda expert: -logits[token][expert])
            found += [(token, rank, expert) for rank, expert in enumerate(best[: self.k])]
        return found

    def carried(self, logits: Sequence[Sequence[float]], live: Sequence[bool], length: int) -> list[Place | None]:
        """For each choice that is wanted who carries it out, or None."""
        wanted = self.wanted(logits, live)
        if self.capacity is None:
            return [(token, expert) for token, _, expert in wanted]
        found: dict[int, Place | None] = {}
        groups = range(0, len(logits), length) if self.capacity.per_sequence else [0]
        size = length if self.capacity.per_sequence else len(logits)
        for start in groups:
            mine = [number for number, (token, _, _) in enumerate(wanted) if start <= token < start + size]
            room = self._room(sum(live[start : start + size]), len(logits[0]))
            found |= _served(self._in_order(mine, wanted, logits), wanted, room)
            if self.capacity.overflow is Overflow.REROUTE:
                _rerouted(found, self._in_order(mine, wanted, logits), wanted, logits, room)
        return [found[number] for number in range(len(wanted))]

    def _room(self, tokens: int, experts: int) -> list[int]:
        assert self.capacity is not None
        exact = round(self.capacity.factor * self.k * tokens / experts, 9)
        rounded = math.ceil(exact) if self.capacity.rounding is Rounding.CEIL else math.floor(exact)
        return [max(self.capacity.least, rounded)] * experts

    def _in_order(
        self, mine: list[int], wanted: list[tuple[int, int, int]], logits: Sequence[Sequence[float]]
    ) -> list[int]:
        assert self.capacity is not None
        if self.capacity.priority is Priority.RANK:
            return sorted(mine, key=lambda number: wanted[number][1])
        if self.capacity.priority is Priority.PROBABILITY:
            odds = torch.tensor(logits, dtype=torch.float64).softmax(dim=-1).tolist()
            return sorted(mine, key=lambda number: -odds[wanted[number][0]][wanted[number][2]])
        return mine

    def run(
        self, x: Tensor, logits: Tensor, expert: Callable[[Tensor, int], Tensor], live: Sequence[bool], length: int
    ) -> Tensor:
        """(T, d) -> (T, d)"""
        values = logits.detach().tolist()
        wanted, carried = self.wanted(values, live), self.carried(values, live, length)
        made = [torch.zeros_like(x[token]) for token in range(len(x))]
        for token in range(len(x)):
            odds = torch.exp(logits[token]) / torch.exp(logits[token]).sum()
            mine = [(one[2], place) for one, place in zip(wanted, carried, strict=True) if one[0] == token]
            working = [place[1] for _, place in mine if place is not None]
            under = {
                Weighting.PROBABILITY: [],
                Weighting.OVER_CHOSEN: [chosen for chosen, _ in mine],
                Weighting.OVER_CARRIED: working,
            }[self.weighting]
            whole = sum((odds[number] for number in under), torch.zeros((), dtype=x.dtype)) if under else 1.0
            for number in working:
                made[token] = made[token] + odds[number] / whole * expert(x[token], number)
            if live[token] and not working and self.capacity and self.capacity.overflow is Overflow.RESIDUAL:
                made[token] = x[token]
        return torch.stack(made)


def _served(order: list[int], wanted: list[tuple[int, int, int]], room: list[int]) -> dict[int, Place | None]:
    """First come, first served; `room` shrinks."""
    found: dict[int, Place | None] = {}
    for number in order:
        token, _, expert = wanted[number]
        found[number] = (token, expert) if room[expert] else None
        room[expert] -= bool(room[expert])
    return found


def _rerouted(
    found: dict[int, Place | None],
    order: list[int],
    wanted: list[tuple[int, int, int]],
    logits: Sequence[Sequence[float]],
    room: list[int],
) -> None:
    """Round after round: of all that wait, each token's first asks its best expert that is open to it."""
    had = {(token, expert) for token, _, expert in wanted}
    waiting = [number for number in order if found[number] is None]
    while waiting:
        asked: dict[int, int] = {}  # choice -> expert
        for number in waiting:
            token = wanted[number][0]
            if token in {wanted[other][0] for other in asked}:
                continue
            fit = [expert for expert, left in enumerate(room) if left and (token, expert) not in had]
            asked[number] = max(fit, key=lambda expert: logits[token][expert], default=-1)
        for number, expert in asked.items():
            token = wanted[number][0]
            if expert >= 0 and room[expert]:
                found[number] = (token, expert)
                had.add((token, expert))
                room[expert] -= 1
        hopeless = {number for number, expert in asked.items() if expert < 0}
        waiting = [number for number in waiting if found[number] is None and number not in hopeless]
