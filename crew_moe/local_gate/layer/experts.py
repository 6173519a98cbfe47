"""FFN experts of one layer, their weights stacked so that expert e's matrix is `weight[e]`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from typing import Final, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from crew_moe.local_gate.layer.activations import ACTIVATIONS, check_activation
from crew_moe.local_gate.layer.few import few
from crew_moe.local_gate.layer.grouped import grouped
from crew_moe.local_gate.layer.grouping import Grouping

FEW: Final = 16  # tokens up to which the time goes into reading weights, not into multiplying with them


class Experts(nn.Module, ABC):
    """E experts that carry out routes, wherever they are."""

    def __init__(self, experts: int) -> None:
        super().__init__()
        self.experts = experts

    @abstractmethod
    def weighted_sum(self, x: Tensor, expert: Tensor, token: Tensor, weight: Tensor) -> Tensor:
        """(T, d) -> (T, d): what the experts of each token's assignments (A,) make of it, times weight, added up."""


class FFNExperts(Experts):
    """Feed-forward networks of one shape without bias, (n, d) -> (n, d): two matrices and what is between them.

    The grouped computation takes them apart, so a kind of experts says how its middle is done and undone. They compute
    in their own dtype, a token's sum is in float32 at least, and the result has the dtype of x. Differentiable once.
    """

    def weighted_sum(self, x: Tensor, expert: Tensor, token: Tensor, weight: Tensor) -> Tensor:
        first, _ = self.matrices()
        given = x.to(first.dtype)
        weight = weight.to(torch.promote_types(first.dtype, weight.dtype))
        if len(x) <= FEW and not torch.is_grad_enabled():
            return few(given, expert, token, weight, self).to(x.dtype)
        grouping = Grouping.of(expert, token, experts=self.experts, tokens=len(x))
        return grouped(given, weight, self, grouping).to(x.dtype)

    @abstractmethod
    def matrices(self) -> tuple[Tensor, Tensor]:
        """The first (E, r, d) and the second (E, d, f) matrix of every expert."""

    @abstractmethod
    def middle(self, first: Tensor) -> Tensor:
        """What the second matrix is multiplied with: (n, r) -> (n, f)."""

    @abstractmethod
    def middle_gradient(self, gradient: Tensor, first: Tensor) -> Tensor:
        """The gradient (n, f) of the middle's result as that of its argument `first`, (n, r)."""

    def one(self, x: Tensor, expert: int) -> Tensor:
        """What FFN expert `expert` makes of its rows: (n, d) -> (n, d)."""
        first, second = self.matrices()
        product = functional.linear(x.to(first.dtype), first[expert])
        return functional.linear(self.middle(product), second[expert]).to(x.dtype)

    def part(self, begin: int, end: int) -> Self:
        """The experts from `begin` up to `end`, with weights of their own."""
        some = copy(self)
        some.experts = end - begin
        some._parameters = {}  # the copy shares the dict with the original
        for name, weight in self.named_parameters(recurse=False):
            some.register_parameter(name, nn.Parameter(weight.detach()[begin:end].clone(), weight.requires_grad))
        return some


class TwoMatrixExperts(FFNExperts):
    """activation(x @ w_in) @ w_out (Switch: relu)."""

    def __init__(self, experts: int, d_model: int, d_ff: int, activation: str = "relu") -> None:
        super().__init__(experts)
        check_activation(activation)
        self.activation = activation  # the name alone: a module is pickled, torch's functions are not
        self.w_in = stacked(experts, d_ff, d_model)
        self.w_out = stacked(experts, d_model, d_ff)

    def matrices(self) -> tuple[Tensor, Tensor]:
        return self.w_in, self.w_out

    def middle(self, first: Tensor) -> Tensor:
        return ACTIVATIONS[self.activation].forward(first)

    def middle_gradient(self, gradient: Tensor, first: Tensor) -> Tensor:
        return ACTIVATIONS[self.activation].backward(gradient, first)


class SwiGLUExperts(FFNExperts):
    """(activation(x @ gate) * (x @ up)) @ down (Shazeer 2020, Mixtral: silu).

    Gate and up lie in one matrix, gate first, as in Mixtral's.
    """

    def __init__(self, experts: int, d_model: int, d_ff: int, activation: str = "silu") -> None:
        super().__init__(experts)
        check_activation(activation)
        self.activation = activation
        self.gate_up = stacked(experts, 2 * d_ff, d_model)
        self.down = stacked(experts, d_model, d_ff)

    def matrices(self) -> tuple[Tensor, Tensor]:
        return self.gate_up, self.down

    def middle(self, first: Tensor) -> Tensor:
        gate, up = first.chunk(2, dim=-1)  # (n, f) each
        return ACTIVATIONS[self.activation].forward(gate).mul_(up)

    def middle_gradient(self, gradient: Tensor, first: Tensor) -> Tensor:
        gate, up = first.chunk(2, dim=-1)
        of_gate = ACTIVATIONS[self.activation].backward(gradient * up, gate)
        return torch.cat((of_gate, gradient * ACTIVATIONS[self.activation].forward(gate)), dim=-1)


def stacked(experts: int, rows: int, columns: int) -> nn.Parameter:
    """(E, rows, columns), each entry uniform in +-1/sqrt(columns), as torch begins a linear layer."""
    bound = columns**-0.5
    return nn.Parameter(torch.empty(experts, rows, columns).uniform_(-bound, bound))
