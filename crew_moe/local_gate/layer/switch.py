"""Each token goes to the one FFN expert that scores highest, as far as that has room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from torch import Tensor

from crew_moe.local_gate.layer.capacity import Capacity
from crew_moe.local_gate.layer.routing import Routes
from crew_moe.local_gate.layer.top_k import TopK
from crew_moe.local_gate.layer.weighting import Weighting

ROOMY: Final = Capacity(factor=1.25)
"""A quarter more than an equal share (Fedus et al. 2021, table 1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """Top-1, weighted by the probability itself: that is how the gating network learns from a single choice.

    Fedus, W. et al.: Switch Transformers, 2021 (arXiv:2101.03961).

    >>> import torch
    >>> Switch()(torch.tensor([[0.0, 2.0, 1.0]])).expert.tolist()
    [1]
    """

    capacity: Capacity | None = ROOMY

    @property
    def k(self) -> int:
        return 1

    def __call__(
        self,
        logits: Tensor,
        *,
        selection: Tensor | None = None,
        live: Tensor | None = None,
        sequences: int = 1,
        k: int | None = None,
    ) -> Routes:
        top = TopK(k=1, weighting=Weighting.PROBABILITY, capacity=self.capacity)
        return top(logits, selection=selection, live=live, sequences=sequences, k=k)
