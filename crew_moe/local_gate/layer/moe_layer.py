"""The token-level mixture of experts: a gating network, a router and FFN experts as one torch module."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from crew_moe.errors import InvalidInput
from crew_moe.local_gate.layer.diagnostics import RoutingDiagnostics, diagnose
from crew_moe.local_gate.layer.dispatch import combine
from crew_moe.local_gate.layer.dynamic_k import k_under
from crew_moe.local_gate.layer.experts import Experts
from crew_moe.local_gate.layer.gating import GatingNetwork, Scores
from crew_moe.local_gate.layer.losses import LossWeights, total_loss
from crew_moe.local_gate.layer.routing import Routes, TokenRouter


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReport:
    """What one forward pass decided; nothing of it stays in the layer, and nothing is computed until asked for."""

    routes: Routes
    scores: Scores

    def loss(self, weights: LossWeights | None = None) -> Tensor:
        """The weighted sum of the routing losses, to be added to the task's."""
        return total_loss(self.routes, self.scores, weights or LossWeights())

    def diagnostics(self) -> RoutingDiagnostics:
        return diagnose(self.routes)


class MoELayer(nn.Module):
    """y = sum over a token's FFN experts of weight x FFN(x), plus what the shared experts make of every token.

    Everything is given to it: `gate(x, generator)` makes Scores, `router` the Routes, `experts` do the work, and
    `shared` maps (T, d) to (T, d). There is no residual connection around it, but for Overflow.RESIDUAL.
    """

    def __init__(
        self, *, gate: GatingNetwork, router: TokenRouter, experts: Experts, shared: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.gate = gate
        self.router = router
        self.experts = experts
        self.shared = shared

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        *,
        k: int | None = None,
        load: float | None = None,
        generator: Generator | None = None,
    ) -> tuple[Tensor, LayerReport]:
        """(B, S, d) or (T, d) -> the same shape and dtype.

        `mask` (B, S) or (T,) is false for padding, which takes no room, has no share in the losses and becomes zeros.
        `k` caps the FFN experts per token of this call, and so does `load` (0 idle, 1 full; see dynamic_k). Noise is
        drawn from `generator`, in training only. Raises InvalidInput.
        """
        _check(x, mask)
        flat = x.reshape(-1, x.shape[-1])  # (T, d)
        live = None if mask is None else mask.reshape(-1).to(torch.bool)
        if live is not None:  # attention leaves NaN where a token may look at nothing, and NaN spoils every gradient
            flat = flat.masked_fill(~live.unsqueeze(-1), 0.0)
        scores: Scores = self.gate(flat, generator)
        routes = self.router(
            scores.logits,
            selection=scores.selection,
            live=live,
            sequences=(x.shape[0] or 1) if x.dim() == 3 else 1,
            k=k if load is None else k_under(load, self.router.k if k is None else min(k, self.router.k)),
        )
        y = combine(flat, routes, self.experts)
        if self.shared is not None:
            made = self.shared(flat)
            y = y + (made if live is None else made.masked_fill(~live.unsqueeze(-1), 0.0))
        if routes.residual:
            y = torch.where(routes.unserved().unsqueeze(-1), y + flat, y)
        return y.reshape(x.shape), LayerReport(routes=routes, scores=scores)


def _check(x: Tensor, mask: Tensor | None) -> None:
    if x.dim() not in {2, 3}:
        what = f"tokens of shape {tuple(x.shape)}"
        raise InvalidInput(what, where="x", allowed=("(B, S, d)", "(T, d)"))
    if mask is not None and mask.shape != x.shape[:-1]:
        what = f"a mask of shape {tuple(mask.shape)}"
        raise InvalidInput(what, where="mask", allowed=(str(tuple(x.shape[:-1])),))
