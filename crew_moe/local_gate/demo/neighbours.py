"""Attention of a LED whose heads start out looking at one neighbour each.

To copy a sentence, a model must find what followed the words that it has just written. Where positions are learned
from nothing, most of the training goes by until a head has found out where the token before is. So positions start as
sines and cosines (Vaswani et al., "Attention is all you need", 2017), and queries as the rotation that turns a position
into its neighbour's. All of it may change in training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import torch

_FASTEST: Final = 2.5  # radians a token
_SLOWER: Final = 0.8  # from one pair of sine and cosine to the next
_KEPT: Final = 0.3  # of the random weights
_FOCUS: Final = 3.0  # how much a head prefers its neighbour at the start


def positions(count: int, width: int, size: float) -> torch.Tensor:
    """(count, width) sines and cosines in turn, as large as random numbers of this standard deviation."""
    angles = torch.arange(count)[:, None] * torch.tensor(_frequencies(width // 2))  # (count, pairs)
    pairs = torch.stack([angles.sin(), angles.cos()], dim=-1)
    return size * math.sqrt(2) * pairs.reshape(count, width)


def look_at(query: Any, key: Any, offsets: Sequence[int]) -> None:
    """Turn the layers of one attention, (width, width) each, so that head i prefers what is `offsets[i]` away."""
    width = query.weight.shape[0]
    rows = width // len(offsets)
    with torch.no_grad():
        for head, offset in enumerate(offsets):
            place = slice(head * rows, (head + 1) * rows)
            query.weight[place] = _KEPT * query.weight[place] + math.sqrt(_FOCUS) * _turned(offset, rows, width)
            key.weight[place] = _KEPT * key.weight[place] + math.sqrt(_FOCUS) * _turned(0, rows, width)


def _turned(offset: int, rows: int, width: int) -> torch.Tensor:
    """(rows, width): takes the fastest pairs of a position and gives those of the one `offset` further on."""
    matrix = torch.zeros(rows, width)
    for pair, frequency in enumerate(_frequencies(rows // 2)):
        cosine, sine = math.cos(offset * frequency), math.sin(offset * frequency)
        matrix[2 * pair : 2 * pair + 2, 2 * pair : 2 * pair + 2] = torch.tensor([[cosine, sine], [-sine, cosine]])
    return matrix


def _frequencies(pairs: int) -> list[float]:
    return [_FASTEST * _SLOWER**pair for pair in range(pairs)]
