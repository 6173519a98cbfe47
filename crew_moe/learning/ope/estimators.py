"""The estimators, one line each, and what each of them makes of a log.

Every one is a sum of two parts. The direct part is what a reward model predicts of the candidate's choices; without a
model it is nothing. The correction is the importance-weighted mean of what the model missed: with weight
w = candidate's probability / logged propensity, mean(w * residual), or over mean(w) where it is self-normalised. A
choice of nobody, which is what the probabilities of a round lack of 1, is known to be worth 0.

    ips     Horvitz, Thompson: A generalization of sampling without replacement (JASA 47, 1952)
    snips   Swaminathan, Joachims: The self-normalized estimator for counterfactual learning (NIPS 2015)
    dm      the model's word alone; biased wherever the model is
    dr      Dudik, Langford, Li: Doubly robust policy evaluation and learning (ICML 2011)
    sndr    dr with the correction of snips
    switch  Wang, Agarwal, Dudik: Optimal and adaptive off-policy evaluation (ICML 2017): where the weight is beyond a
            threshold, the model's word is taken; the threshold is the one with the least estimated squared error
    blend   between dm and sndr, as Thomas, Brunskill: Data-efficient off-policy policy evaluation (ICML 2016) blend
            such two: the correction c counts c^2 / (c^2 + its variance), so that noise is not mistaken for a fault of
            the model. A model that learned elsewhere makes it the most exact of all
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from crew_moe.learning.ope.rounds import Floats, Rounds

THRESHOLDS: Final = 20  # quantiles of the weights that `switch` tries


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimator:
    """What makes one estimator differ from the others."""

    modelled: bool = True
    corrected: bool = True
    normalised: bool = False
    switched: bool = False
    blended: bool = False

    @property
    def whole(self) -> Estimator:
        """The one that believes the correction as it is. How far that may err bounds what is nearer to the model."""
        return replace(self, switched=False, blended=False)


ESTIMATORS: Final[Mapping[str, Estimator]] = {
    "ips": Estimator(modelled=False),
    "snips": Estimator(modelled=False, normalised=True),
    "dm": Estimator(corrected=False),
    "dr": Estimator(),
    "sndr": Estimator(normalised=True),
    "switch": Estimator(switched=True),
    "blend": Estimator(normalised=True, blended=True),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """One estimate, taken apart by rounds: value = mean(direct) + mean(upper) / mean(lower)."""

    direct: Floats
    upper: Floats
    lower: Floats

    @property
    def correction(self) -> float:
        below = float(self.lower.mean())
        return float(self.upper.mean()) / below if below > 0.0 else 0.0

    @property
    def noise(self) -> Floats:
        """How far each round moves the correction, (rounds,), with mean 0: its influence function. For a ratio by the
        delta method, with the leverage that a round has over its own estimate taken off (as in HC3).
        """
        below = float(self.lower.mean())
        if below <= 0.0:
            return np.zeros_like(self.upper)
        moved = (self.upper - self.correction * self.lower) / below
        leverage = self.lower / self.lower.sum()
        freed = moved / np.maximum(1.0 - leverage, 0.5)
        centred: Floats = freed - freed.mean()
        return centred


def parts_of(
    estimator: Estimator, rounds: Rounds, candidate: Floats, predicted: Floats | None, clip: float | None = None
) -> Parts:
    """The parts of an estimate for these probabilities, (rounds, arms). `predicted`, (rounds, arms), is needed by those
    that are `modelled`; `clip` is the highest weight.
    """
    count = len(rounds)
    nothing, ones = np.zeros(count), np.ones(count)
    weight = rounds.chosen(candidate) / rounds.propensity
    if clip is not None:
        weight = np.minimum(weight, clip)
    direct, missed = nothing, rounds.reward
    if estimator.modelled and predicted is not None:
        direct = (candidate * predicted).sum(axis=1)
        missed = rounds.reward - rounds.chosen(predicted)
    if not estimator.corrected:
        return Parts(direct=direct, upper=nothing, lower=ones)
    if estimator.switched:
        weight = np.where(weight <= threshold(weight, missed), weight, 0.0)
    if not estimator.normalised:
        return Parts(direct=direct, upper=weight * missed, lower=ones)
    served = float(candidate.sum(axis=1).mean())  # the weights' mean, but for chance
    return Parts(direct=direct, upper=weight * missed, lower=weight / served if served > 0.0 else nothing)


def threshold(weight: Floats, missed: Floats) -> float:
    """The weight above which the model is believed: the least of variance + squared bias, both as they are estimated
    when the rounds above it are left out of the correction.
    """
    tried = np.unique(np.quantile(weight[weight > 0.0], np.linspace(0.0, 1.0, THRESHOLDS))) if weight.any() else ()
    best, least = 0.0, np.inf
    for limit in tried:
        kept = np.where(weight <= limit, weight * missed, 0.0)
        left_out = weight * missed - kept
        squared = float(kept.var() / len(kept) + left_out.mean() ** 2)
        if squared < least:
            best, least = float(limit), squared
    return best
