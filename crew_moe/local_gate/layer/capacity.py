"""How many tokens an FFN expert takes, who comes first, and what becomes of those that find it full."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

import torch
from torch import Tensor

from crew_moe.errors import InvalidInput

FINEST: Final = 1_000_000
"""Factors are read to six decimals and reckoned as fractions: 1.1 x 10 tokens are 11, not 12 by a rounding error."""


class Rounding(StrEnum):
    """What becomes of a fraction of a token."""

    CEIL = "ceil"  # GShard, DeepSpeed
    FLOOR = "floor"  # Switch's own code


class Priority(StrEnum):
    """Who is served first where an expert can't serve all."""

    RANK = "rank"  # all first choices before the second ones, each in the tokens' order (GShard, DeepSpeed's top-2)
    POSITION = "position"  # the tokens' order, all choices of one token together
    PROBABILITY = "probability"  # the highest probability (batch priority, Riquelme et al. 2021)


class Overflow(StrEnum):
    """What becomes of a choice whose expert is full."""

    DROP = "drop"  # nobody carries it out; a token that loses all its choices becomes zeros
    REROUTE = "reroute"  # it goes to the token's best other expert that has room, and is dropped where there is none
    RESIDUAL = "residual"  # as DROP, but a token that loses all its choices passes through unchanged


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Most tokens of one FFN expert: max(least, round(factor x k x live tokens / experts)), or `fixed` as it stands.

    Counted over the whole batch, or for each sequence by itself (`per_sequence`, as transformers' Switch does).
    Padding counts nowhere. Lepikhin, D. et al.: GShard, 2020 (arXiv:2006.16668).

    >>> Capacity(factor=1.25).of(torch.tensor([10]), experts=4, k=1)
    tensor([4])
    """

    factor: float = 1.25
    fixed: int | None = None
    rounding: Rounding = Rounding.CEIL
    least: int = 0
    per_sequence: bool = False
    priority: Priority = Priority.RANK
    overflow: Overflow = Overflow.DROP

    def __post_init__(self) -> None:
        if not 0 < self.factor < FINEST:
            what = f"a factor of {self.factor}"
            raise InvalidInput(what, where="capacity", allowed=("above 0",))
        if min(self.least, self.fixed or 0) < 0:
            what = f"least {self.least}, fixed {self.fixed}"
            raise InvalidInput(what, where="capacity", allowed=("0 and above",))

    def of(self, tokens: Tensor, *, experts: int, k: int) -> Tensor:
        """The capacity for each group of so many live tokens: (G,) int64 -> (G,) int64."""
        if self.fixed is not None:
            return torch.full_like(tokens, self.fixed)
        share = Fraction(self.factor).limit_denominator(FINEST) * k / experts
        spare = share.denominator - 1 if self.rounding is Rounding.CEIL else 0
        return ((tokens * share.numerator + spare) // share.denominator).clamp_min(self.least)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """N places wanted at E experts in each of G groups of tokens."""

    token: Tensor  # (N,) int64
    expert: Tensor  # (N,) int64
    group: Tensor  # (N,) int64: the group of the token
    order: Tensor  # (N,) int64: permutation, who comes first
    room: Tensor  # (G, E) int64


def admit(queue: Queue) -> Tensor:
    """(N,) bool: who finds room."""
    return _within(queue.group * queue.room.shape[1] + queue.expert, queue.order, queue.room.reshape(-1))


def reroute(queue: Queue, admitted: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """(experts, admitted), (N,) each, after those without room went to their token's best expert with room.

    A token never has one expert twice. `scores` (T, E): the higher, the better; -inf is never taken.
    """
    experts, admitted = queue.expert.clone(), admitted.clone()
    width = queue.room.shape[1]
    room = queue.room.reshape(-1).clone()
    room -= torch.bincount((queue.group * width + experts)[admitted], minlength=len(room))
    open_to = scores > -torch.inf  # (T, E)
    open_to[queue.token, queue.expert] = False
    waiting = queue.order[~admitted[queue.order]]
    while len(waiting):
        # One of a token's places at a time, or two of them would go to the same expert.
        first = _place(queue.token[waiting]) == 0
        asking = waiting[first]
        token, group = queue.token[asking], queue.group[asking]
        possible = open_to[token] & (room.view_as(queue.room)[group] > 0)
        best = scores[token].masked_fill(~possible, -torch.inf).argmax(dim=-1)
        hopeful = possible.any(dim=-1)
        bucket = (group * width + best)[hopeful]
        found = _within(bucket, torch.arange(len(bucket), device=bucket.device), room)
        moved = asking[hopeful][found]
        experts[moved], admitted[moved] = best[hopeful][found], True
        open_to[queue.token[moved], experts[moved]] = False
        room -= torch.bincount(bucket[found], minlength=len(room))
        done = admitted.clone()
        done[asking[~hopeful]] = True
        waiting = waiting[~done[waiting]]
    return experts, admitted


def _within(bucket: Tensor, order: Tensor, room: Tensor) -> Tensor:
    """(N,) bool: whether fewer than `room[bucket]` of the same bucket come before, in this order."""
    inside = torch.empty_like(bucket, dtype=torch.bool)
    inside[order] = _place(bucket[order]) < room[bucket[order]]
    return inside


def _place(bucket: Tensor) -> Tensor:
    """(N,) int64: how many of the same bucket stand before each."""
    order = bucket.argsort(stable=True)
    counts = torch.bincount(bucket)
    starts = counts.cumsum(0) - counts
    place = torch.empty_like(bucket)
    place[order] = torch.arange(len(bucket), device=bucket.device) - starts[bucket[order]]
    return place
