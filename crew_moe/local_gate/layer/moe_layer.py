"""The token-level mixture of experts: a gating network, a router and FFN experts as one torch module."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from crew_moe.errors import InvalidInput
from crew_moe.local_gate.layer.dispatch import combine
from crew_moe.local_gate.layer.experts import FFNExperts
from crew_moe.local_gate.layer.gating import GatingNetwork, Scores
from crew_moe.local_gate.layer.routing import Routes, TokenRouter


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReport:
    """What one forward pass decided; nothing of it stays in the layer."""

    routes: Routes
    scores: Scores


class MoELayer(nn.Module):
    """y = sum over a token's FFN experts of weight x FFN(x), plus what the shared experts make of every token.

    `gate(x, generator)` gives Scores, `router` the Routes, `experts` are stacked FFNs, `shared` maps (T, d) to (T, d).
    """

    def __init__(
        self, *, gate: GatingNetwork, router: TokenRouter, experts: FFNExperts, shared: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.gate = gate
        self.router = router
        self.experts = experts
        self.shared = shared

    def forward(
        self, x: Tensor, mask: Tensor | None = None, *, k: int | None = None, generator: Generator | None = None
    ) -> tuple[Tensor, LayerReport]:
        """(B, S, d) or (T, d) -> the same shape. `mask` (B, S) or (T,) is false for padding, which becomes zeros."""
        if x.dim() not in {2, 3} or (mask is not None and mask.shape != x.shape[:-1]):
            what = f"tokens of shape {tuple(x.shape)}" + ("" if mask is None else f" with a mask {tuple(mask.shape)}")
            raise InvalidInput(what, where="x", allowed=("(B, S, d) with (B, S)", "(T, d) with (T,)"))
        flat = x.reshape(-1, x.shape[-1])  # (T, d)
        live = None if mask is None else mask.reshape(-1).to(torch.bool)
        scores: Scores = self.gate(flat, generator)
        routes = self.router(
            scores.logits,
            selection=scores.selection,
            live=live,
            sequences=x.shape[0] if x.dim() == 3 else 1,
            k=k,
        )
        y = combine(flat, routes, self.experts)
        if self.shared is not None:
            made = self.shared(flat)
            y = y + (made if live is None else made * live.unsqueeze(-1))
        if routes.residual:
            y = y + flat * routes.unserved().unsqueeze(-1)
        return y.reshape(x.shape), LayerReport(routes=routes, scores=scores)
