"""The computation of FFN experts for a few tokens, where reading the weights is what takes the time."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from crew_moe.local_gate.layer.experts import FFNExperts


def few(x: Tensor, expert: Tensor, token: Tensor, weight: Tensor, experts: FFNExperts) -> Tensor:
    """As `grouped`, without gradients: reads the weights of the active experts alone, and orders rows in Python."""
    first, second = experts.matrices()
    chosen = expert.tolist()
    order = sorted(range(len(chosen)), key=chosen.__getitem__)
    at = torch.tensor(order, dtype=torch.int64, device=x.device)
    token = token[at]
    given = x.index_select(0, token)  # (A, d)
    made = torch.empty_like(given)
    begin = 0
    for number, same in groupby(chosen[assignment] for assignment in order):
        end = begin + len(list(same))
        product = given.new_empty(end - begin, first.shape[1])
        torch.mm(given[begin:end], first[number].t(), out=product)  # autocast leaves what has an `out` alone
        torch.mm(experts.middle(product), second[number].t(), out=made[begin:end])
        begin = end
    weighted = made.to(weight.dtype) * weight[at].unsqueeze(1)
    return weight.new_zeros(x.shape).index_add_(0, token, weighted)
