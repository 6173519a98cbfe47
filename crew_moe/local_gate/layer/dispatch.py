"""Carries out routes: each FFN expert works once on all of its tokens, and each token's results are added up."""

from __future__ import annotations

from torch import Tensor

from crew_moe.local_gate.layer.experts import Experts
from crew_moe.local_gate.layer.routing import Routes


def combine(x: Tensor, routes: Routes, experts: Experts) -> Tensor:
    """(T, d) -> (T, d): the weighted sum of what each token's FFN experts make of it; zeros where it has none."""
    return experts.weighted_sum(x, routes.expert, routes.token, routes.weight)
