"""The grouped computation of FFN experts, with a backward pass of its own.

Autograd's would keep a copy of every gathered row and write the whole stack of weight gradients once per expert.
Here an expert's gradients are written once, where they belong, and only first products and results are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from crew_moe.errors import InvalidInput
from crew_moe.local_gate.layer.grouping import Grouping

if TYPE_CHECKING:
    from crew_moe.local_gate.layer.experts import FFNExperts

Gradients = tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None, None, None]


def grouped(x: Tensor, weight: Tensor, experts: FFNExperts, grouping: Grouping) -> Tensor:
    """y[t] = sum over t's assignments a of weight[a] * expert[a](x[t]); zeros for a token without one.

    x (T, d) in the experts' dtype, weight (A,) and y (T, d) in the dtype of the sum. Differentiable once: a backward
    pass with create_graph raises InvalidInput.
    """
    first, second = experts.matrices()
    if torch.is_grad_enabled() and any(given.requires_grad for given in (x, weight, first, second)):
        made: Tensor = _GroupedFFN.apply(x, weight, first, second, experts, grouping)  # type: ignore[no-untyped-call]  # torch's
        return made
    products = x.new_empty(grouping.longest(), first.shape[1])
    return grouping.sums(_through(x, products, experts, grouping).to(weight.dtype), weight)


def _through(x: Tensor, products: Tensor, experts: FFNExperts, grouping: Grouping) -> Tensor:
    """Each row's result (A, d). `products` keeps the first products if it has room for all of them, (A, r)."""
    first, second = experts.matrices()
    made = x.new_empty(len(grouping.token), x.shape[1])
    for expert, rows, _ in grouping.pieces():
        product = products[rows] if len(products) == len(made) else products[: rows.stop - rows.start]
        torch.mm(x.index_select(0, grouping.token[rows]), first[expert].t(), out=product)
        torch.mm(experts.middle(product), second[expert].t(), out=made[rows])
    return made


class _GroupedFFN(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, first: Tensor, second: Tensor, experts: FFNExperts, grouping: Grouping
    ) -> Tensor:
        products = x.new_empty(len(grouping.token), first.shape[1])  # (A, r)
        made = _through(x, products, experts, grouping)
        ctx.experts, ctx.grouping = experts, grouping
        ctx.save_for_backward(x, weight, first, second, products, made)
        return grouping.sums(made.to(weight.dtype), weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Gradients:
        if torch.is_grad_enabled():  # so torch runs it where create_graph is set; what it is then given may not say so
            raise InvalidInput("the experts have no gradient of a gradient", where="create_graph")
        of_x, of_weight, of_first, of_second = _Backward(ctx).run(gradient)
        return of_x, of_weight, of_first, of_second, None, None


class _Backward:
    """One backward pass: what it was given, and the gradients while they are filled, piece by piece."""

    def __init__(self, ctx: Any) -> None:
        self.x, self.weight, self.first, self.second, self.products, self.made = ctx.saved_tensors
        self.experts: FFNExperts = ctx.experts
        self.grouping: Grouping = ctx.grouping
        wanted_x, wanted_weight, wanted_first, wanted_second = ctx.needs_input_grad[:4]
        self.of_rows = torch.empty_like(self.made) if wanted_x else None  # (A, d)
        self.of_weights = self.weight.new_empty(len(self.made)) if wanted_weight else None  # (A,)
        self.of_first = _stack(self.first, self.grouping) if wanted_first else None
        self.of_second = _stack(self.second, self.grouping) if wanted_second else None

    def run(self, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
        per_row = self.weight[self.grouping.order].unsqueeze(1)
        for expert, rows, begins in self.grouping.pieces():
            of_sum = gradient.index_select(0, self.grouping.token[rows])  # (n, d)
            if self.of_weights is not None:
                torch.sum(of_sum * self.made[rows], dim=1, out=self.of_weights[rows])
            self._piece((of_sum * per_row[rows]).to(self.x.dtype), expert, rows, begins=begins)
        of_x = None if self.of_rows is None else self.grouping.sums(self.of_rows.to(gradient.dtype)).to(self.x.dtype)
        of_weight = None
        if self.of_weights is not None:
            of_weight = torch.empty_like(self.weight).index_copy_(0, self.grouping.order, self.of_weights)
        return of_x, of_weight, self.of_first, self.of_second

    def _piece(self, of_made: Tensor, expert: int, rows: slice, *, begins: bool) -> None:
        """`of_made` (n, d) is the gradient of what `expert` made of these rows."""
        product = self.products[rows]
        if self.of_second is not None:
            _add(self.of_second[expert], of_made, self.experts.middle(product), begins=begins)
        if self.of_rows is None and self.of_first is None:
            return
        of_middle = of_made.new_empty(len(of_made), self.second.shape[2])
        torch.mm(of_made, self.second[expert], out=of_middle)
        of_product = self.experts.middle_gradient(of_middle, product)
        if self.of_first is not None:
            _add(self.of_first[expert], of_product, self.x.index_select(0, self.grouping.token[rows]), begins=begins)
        if self.of_rows is not None:
            torch.mm(of_product, self.first[expert], out=self.of_rows[rows])


def _stack(matrix: Tensor, grouping: Grouping) -> Tensor:
    """Room for the gradient of a stack, already zero where an expert has no row."""
    made = torch.empty_like(matrix)
    for expert, count in enumerate(grouping.counts):
        if not count:
            made[expert].zero_()
    return made


def _add(total: Tensor, left: Tensor, right: Tensor, *, begins: bool) -> None:
    """left^T @ right into `total`, which holds nothing yet when its expert begins."""
    if begins:
        torch.mm(left.t(), right, out=total)
    else:
        total.addmm_(left.t(), right)
