"""The gating networks of a layer: a token's logit for each FFN expert, with or without noise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What a gating network says about T tokens."""

    logits: Tensor  # (T, E): weights and losses come from these
    selection: Tensor | None = None  # (T, E): FFN experts are chosen by these; None: by the logits


class GatingNetwork(nn.Module, ABC):
    """Tokens (T, d) -> Scores over E FFN experts; noise, if any, is drawn from `generator` and only in training."""

    @abstractmethod
    def forward(self, x: Tensor, generator: Generator | None = None) -> Scores: ...


class LinearGate(GatingNetwork):
    """One matrix (E, d), computed in its own dtype whatever the tokens' is."""

    def __init__(self, d_model: int, experts: int) -> None:
        super().__init__()
        bound = d_model**-0.5
        self.weight = nn.Parameter(torch.empty(experts, d_model).uniform_(-bound, bound))

    def forward(self, x: Tensor, generator: Generator | None = None) -> Scores:  # noqa: ARG002 - no noise here
        return Scores(logits=functional.linear(x.to(self.weight.dtype), self.weight))
