"""Each token goes to the k FFN experts that score highest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from crew_moe.local_gate.layer.routing import Choices, Routes, softmax


@dataclass(frozen=True, slots=True, kw_only=True)
class TopK:
    """The k FFN experts with the highest logits, weighted by their probabilities over all or over the chosen ones.

    Shazeer, N. et al.: Outrageously Large Neural Networks, 2017 (arXiv:1701.06538); Jiang, A. et al.: Mixtral of
    Experts, 2024 (arXiv:2401.04088).
    """

    k: int = 2
    renormalise: bool = True

    def __call__(
        self,
        logits: Tensor,
        *,
        selection: Tensor | None = None,
        live: Tensor | None = None,
        sequences: int = 1,
        k: int | None = None,
    ) -> Routes:
        k = min(self.k if k is None else k, self.k, logits.shape[1])
        probabilities = softmax(logits)
        chosen = (logits if selection is None else selection).topk(k, dim=-1).indices  # (T, k)
        weight = probabilities.gather(1, chosen)
        if self.renormalise:
            weight = weight / weight.sum(dim=-1, keepdim=True)
        token = torch.arange(len(chosen), device=chosen.device).unsqueeze(1).expand_as(chosen).reshape(-1)
        rank = torch.arange(k, device=chosen.device).expand_as(chosen).reshape(-1)
        choices = Choices(expert=chosen.reshape(-1), token=token, rank=rank)
        kept = torch.ones_like(token, dtype=torch.bool) if live is None else live[token]
        if live is not None:
            choices = Choices(expert=choices.expert[kept], token=token[kept], rank=rank[kept])
        return Routes(
            expert=choices.expert,
            token=choices.token,
            weight=weight.reshape(-1) if live is None else weight.reshape(-1)[kept],
            logits=logits,
            probabilities=probabilities,
            live=live,
            choices=choices,
            capacity=None,
            sequences=sequences,
            k=k,
        )
