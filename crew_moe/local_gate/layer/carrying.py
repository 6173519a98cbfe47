"""From the experts that tokens choose to the routes that are carried out: capacity, overflow and weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from crew_moe.local_gate.layer.capacity import Capacity, Overflow, Priority, Queue, admit, reroute
from crew_moe.local_gate.layer.routing import Choices, Routes, live_tokens, softmax
from crew_moe.local_gate.layer.weighting import Weighting, weigh


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """What each token chooses, best first."""

    logits: Tensor  # (T, E)
    scores: Tensor  # (T, E): what the choice was made by: the logits, or these with noise
    chosen: Tensor  # (T, k) int64
    wanted: Tensor | None  # (T, k) bool: False where a token wants fewer than k, padding none; None: all are wanted
    live: Tensor | None  # (T,) bool
    sequences: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """Which expert does the work of each choice, if any does."""

    expert: Tensor  # (T, k) int64
    kept: Tensor | None  # (T, k) bool; None: all
    capacity: Tensor | None = None  # (G,) int64
    overflowed: int = 0


def carry(ballot: Ballot, *, capacity: Capacity | None, weighting: Weighting) -> Routes:
    """The routes for a ballot; without a capacity every choice is carried out."""
    probabilities = softmax(ballot.logits)  # (T, E)
    choices = _choices(ballot)
    carried = Carried(expert=ballot.chosen, kept=ballot.wanted)
    if capacity is not None:
        carried = _limited(ballot, choices, probabilities, capacity)
    weight = weigh(
        _masked(probabilities.gather(1, ballot.chosen), ballot.wanted),
        _masked(probabilities.gather(1, carried.expert), carried.kept),
        weighting,
    )
    token, _ = _positions(ballot.chosen)
    return Routes(
        expert=_flat(carried.expert, carried.kept),
        token=_flat(token, carried.kept),
        weight=_flat(weight, carried.kept),
        logits=ballot.logits,
        probabilities=probabilities,
        live=ballot.live,
        choices=choices,
        capacity=carried.capacity,
        sequences=ballot.sequences,
        k=ballot.chosen.shape[1],
        overflowed=carried.overflowed,
        residual=capacity is not None and capacity.overflow is Overflow.RESIDUAL,
    )


def _limited(ballot: Ballot, choices: Choices, probabilities: Tensor, capacity: Capacity) -> Carried:
    tokens, experts = ballot.logits.shape
    live = live_tokens(ballot.logits, ballot.live, groups=ballot.sequences if capacity.per_sequence else 1)
    most = capacity.of(live, experts=experts, k=ballot.chosen.shape[1])  # (G,)
    queue = Queue(
        token=choices.token,
        expert=choices.expert,
        group=choices.token // max(1, tokens // len(most)),
        order=_order(choices, probabilities, capacity.priority),
        room=most.unsqueeze(1).expand(-1, experts),
    )
    expert, admitted = choices.expert, admit(queue)
    overflowed = int((~admitted).sum())
    if overflowed and capacity.overflow is Overflow.REROUTE:
        expert, admitted = reroute(queue, admitted, ballot.scores.detach())
    return Carried(
        expert=_back(ballot.chosen, ballot.wanted, expert),
        kept=_back(torch.zeros_like(ballot.chosen, dtype=torch.bool), ballot.wanted, admitted),
        capacity=most,
        overflowed=overflowed,
    )


def _order(choices: Choices, probabilities: Tensor, priority: Priority) -> Tensor:
    if priority is Priority.RANK:
        return choices.rank.argsort(stable=True)
    if priority is Priority.PROBABILITY:
        return probabilities[choices.token, choices.expert].argsort(descending=True, stable=True)
    return torch.arange(len(choices.token), device=choices.token.device)


def _choices(ballot: Ballot) -> Choices:
    token, rank = _positions(ballot.chosen)
    return Choices(
        expert=_flat(ballot.chosen, ballot.wanted),
        token=_flat(token, ballot.wanted),
        rank=_flat(rank, ballot.wanted),
    )


def _positions(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """(token, rank) of each choice, (T, k) each."""
    tokens, k = chosen.shape
    token = torch.arange(tokens, device=chosen.device).unsqueeze(1).expand(tokens, k)
    return token, torch.arange(k, device=chosen.device).expand(tokens, k)


def _flat(values: Tensor, kept: Tensor | None) -> Tensor:
    return values.reshape(-1) if kept is None else values[kept]


def _back(into: Tensor, where: Tensor | None, values: Tensor) -> Tensor:
    """The values of the wanted choices, laid back into (T, k)."""
    return values.view_as(into) if where is None else into.masked_scatter(where, values)


def _masked(values: Tensor, kept: Tensor | None) -> Tensor:
    return values if kept is None else values.masked_fill(~kept, 0.0)
