"""FFN experts of one layer, their weights stacked so that expert e's matrix is `weight[e]`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from crew_moe.errors import InvalidInput

ACTIVATIONS: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "silu": functional.silu,
}


class FFNExperts(nn.Module, ABC):
    """E feed-forward networks of one shape, (n, d) -> (n, d) each."""

    def __init__(self, experts: int) -> None:
        super().__init__()
        self.experts = experts

    @abstractmethod
    def one(self, x: Tensor, expert: int) -> Tensor:
        """What FFN expert `expert` makes of its rows: (n, d) -> (n, d)."""


class TwoMatrixExperts(FFNExperts):
    """activation(x @ w_in) @ w_out, without bias (Switch: relu)."""

    def __init__(self, experts: int, d_model: int, d_ff: int, activation: str = "relu") -> None:
        super().__init__(experts)
        self.activation = activation_named(activation)
        self.w_in = stacked(experts, d_ff, d_model)
        self.w_out = stacked(experts, d_model, d_ff)

    def one(self, x: Tensor, expert: int) -> Tensor:
        hidden = self.activation(functional.linear(x, self.w_in[expert]))  # (n, f)
        return functional.linear(hidden, self.w_out[expert])


class SwiGLUExperts(FFNExperts):
    """(activation(x @ gate) * (x @ up)) @ down, without bias (Shazeer 2020, Mixtral: silu).

    Gate and up lie in one matrix, gate first, as in Mixtral's.
    """

    def __init__(self, experts: int, d_model: int, d_ff: int, activation: str = "silu") -> None:
        super().__init__(experts)
        self.activation = activation_named(activation)
        self.gate_up = stacked(experts, 2 * d_ff, d_model)
        self.down = stacked(experts, d_model, d_ff)

    def one(self, x: Tensor, expert: int) -> Tensor:
        gate, up = functional.linear(x, self.gate_up[expert]).chunk(2, dim=-1)  # (n, f) each
        return functional.linear(self.activation(gate) * up, self.down[expert])


def activation_named(name: str) -> Callable[[Tensor], Tensor]:
    if name not in ACTIVATIONS:
        what = f"there is no activation '{name}'"
        raise InvalidInput(what, where="activation", value=name, allowed=ACTIVATIONS)
    return ACTIVATIONS[name]


def stacked(experts: int, rows: int, columns: int) -> nn.Parameter:
    """(E, rows, columns), each entry uniform in +-1/sqrt(columns), as torch begins a linear layer."""
    bound = columns**-0.5
    return nn.Parameter(torch.empty(experts, rows, columns).uniform_(-bound, bound))
