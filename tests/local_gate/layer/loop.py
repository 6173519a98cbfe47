"""The oracle: a layer written as naively as it can be, one token after another."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def naive(x: Tensor, logits: Tensor, expert: Callable[[Tensor, int], Tensor], *, k: int, renormalise: bool) -> Tensor:
    """(T, d) -> (T, d): for each token its k best experts, each run on that token alone."""
    made = []
    for token in range(len(x)):
        odds = torch.exp(logits[token]) / torch.exp(logits[token]).sum()
        best = sorted(range(len(odds)), key=lambda number: -odds[number].item())[:k]
        whole = sum((odds[number] for number in best), torch.zeros((), dtype=x.dtype)) if renormalise else 1.0
        made.append(
            sum((odds[number] / whole * expert(x[token], number) for number in best), torch.zeros_like(x[token]))
        )
    return torch.stack(made)
