"""Carries out routes: each FFN expert works once on all of its tokens, and each token's results are added up."""

from __future__ import annotations

import torch
from torch import Tensor

from crew_moe.local_gate.layer.experts import FFNExperts
from crew_moe.local_gate.layer.few import few
from crew_moe.local_gate.layer.grouped import grouped
from crew_moe.local_gate.layer.grouping import Grouping
from crew_moe.local_gate.layer.routing import Routes

FEW = 16  # tokens up to which to read the active experts' weights takes longer than to multiply with them


def combine(x: Tensor, routes: Routes, experts: FFNExperts) -> Tensor:
    """(T, d) -> (T, d): the weighted sum of what each token's FFN experts make of it; zeros where it has none."""
    return weighted_sum(x, routes.expert, routes.token, routes.weight, experts)


def weighted_sum(x: Tensor, expert: Tensor, token: Tensor, weight: Tensor, experts: FFNExperts) -> Tensor:
    """As `combine`, from `expert`, `token` and `weight` (A,) alone.

    The experts compute in their own dtype, the sum is in float32 at least, and the result has the dtype of x.
    """
    first, _ = experts.matrices()
    given = x.to(first.dtype)
    weight = weight.to(torch.promote_types(first.dtype, weight.dtype))
    if len(x) <= FEW and not torch.is_grad_enabled():
        return few(given, expert, token, weight, experts).to(x.dtype)
    grouping = Grouping.of(expert, token, experts=experts.experts, tokens=len(x))
    return grouped(given, weight, experts, grouping).to(x.dtype)
