"""Each FFN expert picks the tokens that score highest with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from crew_moe.local_gate.layer.capacity import Capacity, Rounding
from crew_moe.local_gate.layer.routing import Choices, Routes, live_tokens, softmax

_PADDING: Final = -1.0  # below every probability


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertChoice:
    """Each FFN expert picks its `factor` x tokens / experts best tokens, weighted by the probability itself.

    Balanced by construction; a token gets `factor` experts on average, but maybe none and maybe all. It looks at tokens
    that come later, so it is not for generating text one token after another. Under load `k` caps the factor.

    Zhou, Y. et al.: Mixture-of-Experts with Expert Choice Routing, 2022 (arXiv:2202.09368).

    >>> import torch
    >>> ExpertChoice(factor=1.0)(torch.tensor([[3.0, 0.0], [1.0, 0.0], [0.0, 3.0], [0.0, 2.0]])).token.tolist()
    [0, 1, 2, 3]
    """

    factor: float = 2.0
    rounding: Rounding = Rounding.CEIL
    per_sequence: bool = False

    @property
    def k(self) -> int:
        return math.ceil(self.factor)

    def __call__(
        self,
        logits: Tensor,
        *,
        selection: Tensor | None = None,
        live: Tensor | None = None,
        sequences: int = 1,
        k: int | None = None,
    ) -> Routes:
        experts = logits.shape[1]
        there = live_tokens(logits, live, groups=sequences if self.per_sequence else 1)
        factor = self.factor if k is None else min(self.factor, float(k))
        capacity = Capacity(factor=factor, rounding=self.rounding).of(there, experts=experts, k=1).minimum(there)
        probabilities = softmax(logits)
        scores = (probabilities if selection is None else softmax(selection)).detach()
        if live is not None:
            scores = scores.masked_fill(~live.unsqueeze(-1), _PADDING)
        token, expert = _picked(scores, capacity)
        return Routes(
            expert=expert,
            token=token,
            weight=probabilities[token, expert],
            logits=logits,
            probabilities=probabilities,
            live=live,
            choices=Choices(expert=expert, token=token, rank=torch.zeros_like(token)),
            capacity=capacity,
            sequences=sequences,
            k=experts,
        )


def _picked(scores: Tensor, capacity: Tensor) -> tuple[Tensor, Tensor]:
    """(token, expert) of the best `capacity[g]` tokens of each group g for each expert, expert after expert."""
    groups, length = len(capacity), len(scores) // len(capacity)
    most = int(capacity.max())
    best = scores.view(groups, length, scores.shape[1]).topk(most, dim=1).indices.permute(2, 0, 1)  # (E, G, C)
    inside = (torch.arange(most, device=scores.device) < capacity.unsqueeze(1)).expand_as(best)
    first = torch.arange(groups, device=scores.device).mul(length).view(1, groups, 1)
    expert = torch.arange(len(best), device=scores.device).view(-1, 1, 1).expand_as(best)
    return (best + first)[inside], expert[inside]
