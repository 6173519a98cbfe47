"""Assignments in the order of their FFN experts, and the way back to the order of their tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

ROWS = 1024  # about so many at a time: what an expert makes of them between its matrices stays in the cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """A assignments of T tokens to E experts; a row is an assignment, all of expert 0's first."""

    order: Tensor  # (A,) int64: the assignment that is each row
    token: Tensor  # (A,) int64: the token of each row
    counts: tuple[int, ...]  # (E,): rows of each expert
    rows: Tensor  # (A,) int64: all rows of token 0 first
    assignments: Tensor  # (A,) int64: the assignments of these rows
    starts: Tensor  # (T,) int64: where each token begins in `rows`

    @classmethod
    def of(cls, expert: Tensor, token: Tensor, *, experts: int, tokens: int) -> Grouping:
        """From `expert` and `token` (A,); an expert may have no token, a token no expert or one of them twice."""
        order = expert.argsort(stable=True)
        row = torch.empty_like(order)
        row[order] = torch.arange(len(order), device=order.device)
        assignments = token.argsort(stable=True)
        per_token = torch.bincount(token, minlength=tokens)
        return cls(
            order=order,
            token=token[order],
            counts=tuple(torch.bincount(expert, minlength=experts).tolist()),
            rows=row[assignments],
            assignments=assignments,
            starts=per_token.cumsum(0) - per_token,
        )

    def pieces(self) -> Iterator[tuple[int, slice, bool]]:
        """(expert, some of its rows, whether they are its first), over all rows in order.

        On a CPU an expert's rows come in equal pieces of about ROWS: every piece reads all of its weights.
        """
        start = 0
        for expert, count in enumerate(self.counts):
            parts = max(1, round(count / ROWS)) if self.order.device.type == "cpu" else 1
            for part in range(parts if count else 0):
                yield expert, slice(start + count * part // parts, start + count * (part + 1) // parts), part == 0
            start += count

    def longest(self) -> int:
        """Rows of the longest piece."""
        return max((rows.stop - rows.start for _, rows, _ in self.pieces()), default=0)

    def sums(self, made: Tensor, weight: Tensor | None = None) -> Tensor:
        """(A, d) -> (T, d): each token's rows added up, times the `weight` (A,) of their assignments if given."""
        if not len(made):
            return made.new_zeros(len(self.starts), made.shape[1])
        per_row = None if weight is None else weight[self.assignments]
        return functional.embedding_bag(self.rows, made, self.starts, mode="sum", per_sample_weights=per_row)
