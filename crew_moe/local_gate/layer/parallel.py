"""Expert parallelism: the FFN experts of one layer spread over the ranks of a torch.distributed process group.

Every rank has tokens of its own and a copy of the gating network; expert e lies on one rank alone. A token's row goes
to the ranks of its experts and its results come back (Lepikhin et al.: GShard, 2020, arXiv:2006.16668), as many as
there are: first the counts are exchanged, then the rows, so nothing is dropped or padded.

    experts = ParallelExperts.spread(SwiGLUExperts(8, 512, 2048))   # the same weights on every rank
    layer = MoELayer(gate=gate, router=TopK(k=2), experts=experts)
    y, report = layer(x)                                            # T may differ from rank to rank, and be 0
    loss(y).backward()                                              # on every rank
    sum_shared_gradients(layer)                                     # the gating network's, not the experts'

The whole loss is the sum of the ranks' losses. The gradients of x and of a rank's experts are those of the whole loss
when backward() returns; those of what every rank has a copy of are each rank's share until sum_shared_gradients(). For
the mean over R ranks, divide each rank's loss by R.

Ranks must call the layer in step, backward too: `requires_grad` of x and of the weights is to be the same on all. A
rank that is gone, or does not come within the group's timeout (init_process_group), is HostFailed on the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, distributed, nn

from crew_moe.domain.local_work import Trouble
from crew_moe.errors import HostFailed, InvalidInput
from crew_moe.local_gate.layer.experts import Experts, FFNExperts

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup  # not there where torch is built without it


class ParallelExperts(Experts):
    """E experts, of which this rank holds those from `begins[rank]` up to `begins[rank + 1]`."""

    def __init__(self, local: FFNExperts, *, experts: int, group: ProcessGroup | None = None) -> None:
        super().__init__(experts)
        self.group = group
        rank, ranks = distributed.get_rank(group), distributed.get_world_size(group)
        self.begins = _begins(experts, ranks)
        held = self.begins[rank + 1] - self.begins[rank]
        if not held or local.experts != held:
            what = f"{local.experts} of {experts} experts on rank {rank} of {ranks}"
            raise InvalidInput(what, where="experts", allowed=(f"{held} here, and one per rank at least",))
        self.local = local

    @classmethod
    def spread(cls, whole: FFNExperts, group: ProcessGroup | None = None) -> Self:
        """This rank's part of experts that every rank has made alike; the rest can be let go."""
        rank, ranks = distributed.get_rank(group), distributed.get_world_size(group)
        begins = _begins(whole.experts, ranks)
        return cls(whole.part(begins[rank], begins[rank + 1]), experts=whole.experts, group=group)

    def weighted_sum(self, x: Tensor, expert: Tensor, token: Tensor, weight: Tensor) -> Tensor:
        order = expert.argsort(stable=True)  # (A,): by expert, and so by rank
        token, weight = token[order], weight[order].unsqueeze(1)
        counts = torch.bincount(expert, minlength=self.experts)  # (E,)
        theirs = self._counts_for_me(counts)  # (R, E / R)
        sent, received = self._per_rank(counts), theirs.sum(dim=1).tolist()
        dtype = next(self.local.parameters()).dtype
        rows = _Exchange.apply(x.to(dtype).index_select(0, token), sent, received, self.group)  # type: ignore[no-untyped-call]  # torch's
        made = self._work(rows, theirs)
        back = _Exchange.apply(made, received, sent, self.group)  # type: ignore[no-untyped-call]  # (A, d); torch's
        total = torch.promote_types(dtype, weight.dtype)
        y = torch.zeros(x.shape, dtype=total, device=x.device)
        return y.index_add(0, token, back.to(total) * weight.to(total)).to(x.dtype)

    def _counts_for_me(self, counts: Tensor) -> Tensor:
        """How many rows each rank has for each expert of this one: (R, E / R)."""
        held = self.local.experts
        ranks = len(self.begins) - 1
        made = counts.new_empty(ranks * held)
        widths = [end - begin for begin, end in zip(self.begins, self.begins[1:], strict=False)]
        _exchange(made, counts, [held] * ranks, widths, self.group)
        return made.view(ranks, held)

    def _per_rank(self, counts: Tensor) -> list[int]:
        before = [0, *counts.cumsum(0).tolist()]
        return [before[end] - before[begin] for begin, end in zip(self.begins, self.begins[1:], strict=False)]

    def _work(self, rows: Tensor, counts: Tensor) -> Tensor:
        """What the local experts make of rows (N, d) that lie by rank, then by expert, as `counts` (R, E / R) says."""
        ranks, held = counts.shape
        numbers = torch.arange(held, device=rows.device).repeat(ranks)
        expert = numbers.repeat_interleave(counts.reshape(-1), output_size=len(rows))
        each = torch.arange(len(rows), device=rows.device)
        return self.local.weighted_sum(rows, expert, each, torch.ones(len(rows), dtype=rows.dtype, device=rows.device))


def _begins(experts: int, ranks: int) -> list[int]:
    """Rank r's first expert, and one more number: E. The parts differ by one expert at most."""
    return [experts * rank // ranks for rank in range(ranks + 1)]


class _Exchange(torch.autograd.Function):
    """Rows to their ranks; backward, the gradients go the same way back."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, sent: Sequence[int], received: Sequence[int], group: ProcessGroup) -> Tensor:
        ctx.sent, ctx.received, ctx.group = sent, received, group
        made = rows.new_empty(sum(received), rows.shape[1])
        _exchange(made, rows.contiguous(), received, sent, group)
        return made

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        made = gradient.new_empty(sum(ctx.sent), gradient.shape[1])
        _exchange(made, gradient.contiguous(), ctx.sent, ctx.received, ctx.group)
        return made, None, None, None


def sum_shared_gradients(module: nn.Module, group: ProcessGroup | None = None) -> None:
    """Adds up over the ranks the gradients of every parameter that all of them have: all but those of parallel experts.

    A gradient that is missing counts as zeros, so that the ranks stay in step.
    """
    kept = {
        id(weight) for part in module.modules() if isinstance(part, ParallelExperts) for weight in part.parameters()
    }
    for weight in module.parameters():
        if weight.requires_grad and id(weight) not in kept:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
            with _in_company(group):
                distributed.all_reduce(weight.grad, group=group)


def _exchange(
    into: Tensor, rows: Tensor, received: Sequence[int], sent: Sequence[int], group: ProcessGroup | None
) -> None:
    with _in_company(group):
        distributed.all_to_all_single(into, rows, list(received), list(sent), group=group)


@contextmanager
def _in_company(group: ProcessGroup | None) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        rank, ranks = distributed.get_rank(group), distributed.get_world_size(group)
        what = f"rank {rank} of {ranks} lost another one, or waited for it in vain"
        steps = ("look for the rank that ended first, and start all of them again from the last checkpoint",)
        raise HostFailed(Trouble.UNAVAILABLE, what, next_steps=steps) from error
