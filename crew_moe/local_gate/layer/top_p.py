"""Each token goes to as many FFN experts as it takes to be sure enough."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from crew_moe.errors import InvalidInput
from crew_moe.local_gate.layer.capacity import Capacity
from crew_moe.local_gate.layer.carrying import Ballot, carry
from crew_moe.local_gate.layer.routing import Routes, most_choices, softmax
from crew_moe.local_gate.layer.weighting import Weighting


@dataclass(frozen=True, slots=True, kw_only=True)
class TopP:
    """The fewest best FFN experts whose probabilities sum to `p`, at most `k` of them: easy tokens cost less.

    Huang, Q. et al.: Harder Tasks Need More Experts, 2024 (arXiv:2403.07652).

    >>> import torch
    >>> TopP(p=0.6)(torch.tensor([[3.0, 0.0, 0.0], [0.1, 0.0, 0.0]])).token.tolist()
    [0, 1, 1]
    """

    p: float = 0.5
    k: int = 4
    weighting: Weighting = Weighting.PROBABILITY
    capacity: Capacity | None = None

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            what = f"p is {self.p}"
            raise InvalidInput(what, where="TopP", allowed=("above 0, at most 1",))

    def __call__(
        self,
        logits: Tensor,
        *,
        selection: Tensor | None = None,
        live: Tensor | None = None,
        sequences: int = 1,
        k: int | None = None,
    ) -> Routes:
        scores = logits if selection is None else selection
        best = softmax(scores).detach().topk(most_choices(self.k, k, logits), dim=-1)  # (T, k)
        wanted = best.values.cumsum(dim=-1) - best.values < self.p  # what came before did not suffice
        if live is not None:
            wanted = wanted & live.unsqueeze(-1)
        ballot = Ballot(
            logits=logits, scores=scores, chosen=best.indices, wanted=wanted, live=live, sequences=sequences
        )
        return carry(ballot, capacity=self.capacity, weighting=self.weighting)
