"""Each token goes to the k FFN experts that score highest."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from crew_moe.local_gate.layer.capacity import Capacity
from crew_moe.local_gate.layer.carrying import Ballot, carry
from crew_moe.local_gate.layer.routing import Routes, most_choices
from crew_moe.local_gate.layer.weighting import Weighting


@dataclass(frozen=True, slots=True, kw_only=True)
class TopK:
    """The k FFN experts with the highest logits. As it stands it is Mixtral's: softmax over the chosen, no capacity.

    Shazeer, N. et al.: Outrageously Large Neural Networks, 2017 (arXiv:1701.06538); Lepikhin, D. et al.: GShard, 2020
    (arXiv:2006.16668); Jiang, A. et al.: Mixtral of Experts, 2024 (arXiv:2401.04088).

    >>> import torch
    >>> routes = TopK(k=2)(torch.tensor([[0.0, 2.0, 1.0]]))
    >>> routes.expert.tolist(), [round(weight, 3) for weight in routes.weight.tolist()]
    ([1, 2], [0.731, 0.269])
    """

    k: int = 2
    weighting: Weighting = Weighting.OVER_CHOSEN
    capacity: Capacity | None = None

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
        chosen = scores.topk(most_choices(self.k, k, logits), dim=-1).indices  # (T, k)
        wanted = None if live is None else live.unsqueeze(-1).expand_as(chosen)
        ballot = Ballot(logits=logits, scores=scores, chosen=chosen, wanted=wanted, live=live, sequences=sequences)
        return carry(ballot, capacity=self.capacity, weighting=self.weighting)
