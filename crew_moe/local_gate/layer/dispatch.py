"""Carries out routes: gathers each FFN expert's tokens, runs it once on them, adds the weighted results up."""

from __future__ import annotations

import torch
from torch import Tensor

from crew_moe.local_gate.layer.experts import FFNExperts
from crew_moe.local_gate.layer.routing import Routes


def combine(x: Tensor, routes: Routes, experts: FFNExperts) -> Tensor:
    """(T, d) -> (T, d): the weighted sum of what each token's FFN experts make of it; zeros where it has none."""
    order = routes.expert.argsort(stable=True)  # (A,): all of expert 0's tokens first
    token = routes.token[order]
    weight = routes.weight[order].unsqueeze(-1)
    counts = torch.bincount(routes.expert, minlength=routes.experts).tolist()
    y = torch.zeros_like(x)
    start = 0
    for expert, count in enumerate(counts):
        if count:
            rows = slice(start, start + count)
            made = experts.one(x[token[rows]], expert) * weight[rows]  # (n, d)
            y = y.index_add(0, token[rows], made.to(x.dtype))
            start += count
    return y
