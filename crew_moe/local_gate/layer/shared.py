"""FFN experts that work on every token, beside those that a router chooses."""

from __future__ import annotations

from torch import Tensor, nn

from crew_moe.local_gate.layer.experts import FFNExperts


class SharedExperts(nn.Module):
    """The sum of all the FFN experts given, so that the routed ones need not each learn what all tokens need.

    Dai, D. et al.: DeepSeekMoE, 2024 (arXiv:2401.06066).
    """

    def __init__(self, experts: FFNExperts) -> None:
        super().__init__()
        self.experts = experts

    def forward(self, x: Tensor) -> Tensor:  # (T, d) -> (T, d)
        made = self.experts.one(x, 0)
        for expert in range(1, self.experts.experts):
            made = made + self.experts.one(x, expert)
        return made
