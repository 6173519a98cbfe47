"""Two layers side by side: outputs and all gradients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def slope(y: Tensor) -> Tensor:
    """A number that weighs each entry of y otherwise, so that no gradient cancels out."""
    return (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum()


def gradients(scalar: Tensor, of: Iterable[Tensor]) -> list[Tensor]:
    """d scalar / d each; zeros where it does not depend on it."""
    return list(torch.autograd.grad(scalar, list(of), retain_graph=True, materialize_grads=True))


def furthest(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    """The largest difference between any two entries."""
    pairs = zip(ours, theirs, strict=True)
    return max(float((one.detach().double() - other.detach().double()).abs().max()) for one, other in pairs)
