"""With what weight the result of each of a token's FFN experts counts."""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor


class Weighting(StrEnum):
    """What stands under the fraction; above it stands the probability of the expert that does the work.

    A single choice over itself is always 1 and teaches the gating network nothing: train top-1 by PROBABILITY.
    """

    PROBABILITY = "probability"  # 1: the probability itself (Switch, DeepSpeed's top-1)
    OVER_CHOSEN = "over_chosen"  # the sum over the token's choices, carried out or not (Shazeer, Mixtral, GShard)
    OVER_CARRIED = "over_carried"  # the sum over those that are carried out (DeepSpeed's top-2 and top-k)


def weigh(chosen: Tensor, carried: Tensor, weighting: Weighting) -> Tensor:
    """(T, k) -> (T, k): weights, from the probabilities of the chosen and of the working experts (0: none)."""
    if weighting is Weighting.PROBABILITY:
        return carried
    whole = (chosen if weighting is Weighting.OVER_CHOSEN else carried).sum(dim=-1, keepdim=True)
    return carried / whole.clamp_min(torch.finfo(whole.dtype).eps)
