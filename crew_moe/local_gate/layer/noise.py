"""Noise that makes a gating network try FFN experts it would not choose; drawn in training only, from a generator."""

from __future__ import annotations

from typing import Final

import torch
from torch import Generator, Tensor

_TINY: Final = 1e-20  # keeps both logarithms finite


def jitter(x: Tensor, epsilon: float, generator: Generator | None) -> Tensor:
    """x times a number between 1 - epsilon and 1 + epsilon, one for each entry (Fedus et al. 2021, appendix C)."""
    return x * torch.empty_like(x).uniform_(1 - epsilon, 1 + epsilon, generator=generator)


def gumbel(logits: Tensor, scale: float, generator: Generator | None) -> Tensor:
    """The logits plus Gumbel noise: at scale 1 their largest is a draw from their softmax (DeepSpeed's RSample)."""
    uniform = torch.empty_like(logits, dtype=torch.promote_types(logits.dtype, torch.float32))
    uniform.uniform_(generator=generator).clamp_(min=_TINY)
    return logits - scale * torch.log((-torch.log(uniform)).clamp_min(_TINY))


def normal(like: Tensor, generator: Generator | None) -> Tensor:
    return torch.empty_like(like).normal_(generator=generator)
