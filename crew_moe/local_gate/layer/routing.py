"""What a router decides for a batch of tokens: which FFN expert works on which token, and with what weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from crew_moe.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The assignments that the router wanted, before any expert was full. N of them, each (token, expert) once."""

    expert: Tensor  # (N,) int64
    token: Tensor  # (N,) int64
    rank: Tensor  # (N,) int64: 0 is the token's first choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """The assignments that are carried out, A of them, for T tokens and E FFN experts.

    `weight` carries the gradient back to the gating network. A token that no assignment names gets no expert.
    """

    expert: Tensor  # (A,) int64
    token: Tensor  # (A,) int64
    weight: Tensor  # (A,) float, at least float32
    logits: Tensor  # (T, E): what the gating network said, padding included
    probabilities: Tensor  # (T, E): softmax of the logits over the experts, at least float32
    live: Tensor | None  # (T,) bool: False for padding; None when there is none
    choices: Choices
    capacity: Tensor | None  # (G,) int64: most tokens an expert takes of each group; None for no limit
    sequences: int  # T is sequences x length, one sequence after the other
    k: int  # most experts a token was to have in this pass
    overflowed: int = 0  # choices that met a full expert
    residual: bool = False  # live tokens without an expert pass through unchanged

    @property
    def tokens(self) -> int:
        return self.logits.shape[0]

    @property
    def experts(self) -> int:
        return self.logits.shape[1]

    @property
    def dropped(self) -> int:
        """Choices that nobody carries out; one that went to another expert is not among them."""
        return self.choices.expert.shape[0] - self.expert.shape[0]

    def unserved(self) -> Tensor:
        """(T,) bool: live tokens that no expert works on."""
        alone = torch.ones(self.tokens, dtype=torch.bool, device=self.logits.device)
        alone[self.token] = False
        return alone if self.live is None else alone & self.live


class TokenRouter(Protocol):
    """Assigns tokens to FFN experts."""

    @property
    def k(self) -> int:
        """Most experts of a token, or their mean where experts choose."""
        ...

    def __call__(
        self,
        logits: Tensor,
        *,
        selection: Tensor | None = None,
        live: Tensor | None = None,
        sequences: int = 1,
        k: int | None = None,
    ) -> Routes:
        """Routes for `logits` (T, E).

        `selection` (T, E) takes the logits' place where experts are chosen (noise), not where they are weighted.
        `live` (T,) is False for padding. `k` caps the experts per token for this call.
        """
        ...


def softmax(logits: Tensor) -> Tensor:
    """Over the experts, in float32 at least: bfloat16 can't tell near experts apart (Fedus et al. 2021, 2.4)."""
    return torch.softmax(logits, dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))


def live_tokens(logits: Tensor, live: Tensor | None, *, groups: int) -> Tensor:
    """(G,) int64: how many of the tokens of each group are not padding."""
    if live is None:
        return torch.full((groups,), len(logits) // groups, device=logits.device)
    return live.view(groups, -1).sum(dim=-1)


def most_choices(own: int, asked: int | None, logits: Tensor) -> int:
    """A router's own k, less where a call asks for less or there are fewer experts. Raises InvalidInput below 1."""
    k = min(own, logits.shape[1]) if asked is None else min(own, asked, logits.shape[1])
    if k < 1:
        what = f"{k} experts per token"
        raise InvalidInput(what, where="k", allowed=("1 and above",))
    return k
