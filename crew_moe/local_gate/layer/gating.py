"""The gating networks of a layer: a token's logit for each FFN expert, with or without noise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from crew_moe.errors import InvalidInput
from crew_moe.local_gate.layer.noise import gumbel, jitter, normal

LEAST_NOISE: Final = 1e-2
"""The learned noise never vanishes, so that the load loss keeps a gradient (Shazeer et al. 2017, their own code)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What a gating network says about T tokens."""

    logits: Tensor  # (T, E): weights and losses come from these
    selection: Tensor | None = None  # (T, E): FFN experts are chosen by these; None: by the logits
    clean: Tensor | None = None  # (T, E): the logits before learned noise, None where there is none to learn
    deviation: Tensor | None = None  # (T, E): standard deviation of the learned noise


class GatingNetwork(nn.Module, ABC):
    """Tokens (T, d) -> Scores over E FFN experts; noise, if any, is drawn from `generator` and only in training."""

    @abstractmethod
    def forward(self, x: Tensor, generator: Generator | None = None) -> Scores: ...


class LinearGate(GatingNetwork):
    """One matrix (E, d), computed in its own dtype whatever the tokens' is: keep it in float32 beside bfloat16 experts.

    In training `jitter` multiplies the gating network's input (the experts see the token as it is), and `gumbel`
    scales noise on the choice (weights and losses come from the logits as they are).
    """

    def __init__(self, d_model: int, experts: int, *, jitter: float = 0.0, gumbel: float = 0.0) -> None:
        super().__init__()
        if not (0 <= jitter < 1 and gumbel >= 0):
            what = f"jitter {jitter}, gumbel {gumbel}"
            raise InvalidInput(what, where="LinearGate", allowed=("jitter: 0 to 1", "gumbel: 0 and above"))
        self.jitter = jitter
        self.gumbel = gumbel
        self.weight = _matrix(experts, d_model)

    def forward(self, x: Tensor, generator: Generator | None = None) -> Scores:
        x = x.to(self.weight.dtype)
        if self.training and self.jitter:
            x = jitter(x, self.jitter, generator)
        logits = functional.linear(x, self.weight)
        noisy = self.training and self.gumbel
        return Scores(logits=logits, selection=gumbel(logits.detach(), self.gumbel, generator) if noisy else None)


class NoisyGate(GatingNetwork):
    """Logits plus normal noise whose deviation a second matrix learns, softplus(x @ noise) + LEAST_NOISE.

    The noise is in the weights too, so that its matrix gets a gradient. Shazeer, N. et al.: Outrageously Large Neural
    Networks, 2017 (arXiv:1701.06538), equations 3 to 5.
    """

    def __init__(self, d_model: int, experts: int) -> None:
        super().__init__()
        self.weight = _matrix(experts, d_model)
        self.noise = nn.Parameter(torch.zeros(experts, d_model))

    def forward(self, x: Tensor, generator: Generator | None = None) -> Scores:
        x = x.to(self.weight.dtype)
        clean = functional.linear(x, self.weight)
        deviation = functional.softplus(functional.linear(x, self.noise)) + LEAST_NOISE
        logits = clean + normal(clean, generator) * deviation if self.training else clean
        return Scores(logits=logits, clean=clean, deviation=deviation)


def _matrix(experts: int, d_model: int) -> nn.Parameter:
    """(E, d), each entry uniform in +-1/sqrt(d), as torch begins a linear layer."""
    bound = d_model**-0.5
    return nn.Parameter(torch.empty(experts, d_model).uniform_(-bound, bound))
