"""Losses that keep a router balanced and its logits small. Functions of one pass's routes; nothing keeps them.

T tokens, E FFN experts, k choices a token; p(t, e) the probability of e for t; c(e) the choices that name e, also those
that a full expert could not take. Padding is nowhere in them. Without a token each is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from crew_moe.errors import InvalidInput
from crew_moe.local_gate.layer.gating import Scores
from crew_moe.local_gate.layer.routing import Routes


class Balance(StrEnum):
    """Under which name others know the auxiliary loss E x sum of f(e) P(e), P(e) the mean of p(t, e).

    Of one layer: the losses of several are added up, where transformers' Mixtral takes f and P over all layers' tokens.
    """

    SWITCH = "switch"  # f(e) = c(e) / (k T); 1 when balanced (Switch, DeepSpeed's top-1 and top-k)
    MIXTRAL = "mixtral"  # f(e) = c(e) / T; k when balanced (transformers' load_balancing_loss_func)
    FIRST_CHOICE = "first_choice"  # f(e) = first choices of e / T; 1 when balanced (GShard, DeepSpeed's top-2)


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """How much each loss counts; what weighs 0 is not computed. The defaults are Switch's and ST-MoE's."""

    balance: float = 1e-2
    importance: float = 0.0
    load: float = 0.0
    z: float = 1e-3
    convention: Balance = Balance.SWITCH


def total_loss(routes: Routes, scores: Scores, weights: LossWeights) -> Tensor:
    """The weighted sum, to be added to the task's loss."""
    total = routes.probabilities.new_zeros(())
    if weights.balance:
        total = total + weights.balance * balance_loss(routes, weights.convention)
    if weights.importance:
        total = total + weights.importance * importance_loss(routes)
    if weights.load:
        total = total + weights.load * load_loss(routes, scores)
    if weights.z:
        total = total + weights.z * z_loss(routes)
    return total


def balance_loss(routes: Routes, convention: Balance = Balance.SWITCH, *, per_sequence: bool = False) -> Tensor:
    """E x sum over experts of f(e) P(e), by `convention`; balanced routing has 1, or k for MIXTRAL.

    `per_sequence`: the mean of each sequence's own value, as in transformers' Switch. Fedus et al. 2021, eq. 4 to 6.
    """
    groups = routes.sequences if per_sequence else 1
    tokens = _live(routes).view(groups, -1).sum(dim=1, keepdim=True)  # (G, 1)
    mean = _masked(routes, routes.probabilities).view(groups, -1, routes.experts).sum(dim=1) / tokens.clamp_min(1)
    counts = _counts(routes, groups, first_only=convention is Balance.FIRST_CHOICE)  # (G, E)
    whole = counts.sum(dim=1, keepdim=True) if convention is Balance.SWITCH else tokens
    shares = counts.to(mean.dtype) / whole.clamp_min(1)
    return routes.experts * (shares * mean).sum(dim=1).mean()


def importance_loss(routes: Routes) -> Tensor:
    """CV^2 over the experts of sum over tokens of p(t, e); 0 when balanced.

    Shazeer et al. 2017 (eq. 6 and 7) sum the k weights that are used; all E probabilities leave no expert without a
    gradient.
    """
    return cv_squared(_masked(routes, routes.probabilities).sum(dim=0))


def load_loss(routes: Routes, scores: Scores) -> Tensor:
    """CV^2 over the experts of the expected number of tokens; 0 when balanced. Needs NoisyGate.

    The chance that e is among a token's k best if only e's noise were drawn again: Phi((clean(t, e) - limit(t, e)) /
    deviation(t, e)), the limit being the k-th highest logit of the others. Shazeer et al. 2017, eq. 8 to 10.
    """
    if scores.clean is None or scores.deviation is None:
        what = "the load loss needs a gating network with learned noise"
        raise InvalidInput(what, where="losses", allowed=("NoisyGate",))
    if routes.k >= routes.experts:
        return scores.clean.sum() * 0.0  # every expert has every token
    highest = scores.logits.topk(routes.k + 1, dim=-1).values
    inner, outer = highest[:, -2:-1], highest[:, -1:]  # (T, 1): the k-th and the next
    limit = torch.where(scores.logits >= inner, outer, inner)
    chance = torch.special.ndtr((scores.clean - limit) / scores.deviation)
    return cv_squared(_masked(routes, chance).sum(dim=0))


def z_loss(routes: Routes) -> Tensor:
    """Mean over tokens of logsumexp(logits)^2, which keeps logits small enough for low precision.

    Zoph, B. et al.: ST-MoE, 2022 (arXiv:2202.08906), eq. 5. Uniform logits of 0 have log(E)^2.
    """
    logits = routes.logits.to(routes.probabilities.dtype)
    squares = torch.logsumexp(logits, dim=-1, keepdim=True) ** 2
    return _masked(routes, squares).sum() / _live(routes).sum().clamp_min(1)


def cv_squared(amounts: Tensor) -> Tensor:
    """Variance (of the population) over the squared mean; 0 for equal amounts and where there is nothing."""
    mean = amounts.mean()
    return ((amounts - mean) ** 2).mean() / (mean**2).clamp_min(torch.finfo(amounts.dtype).tiny)


def _live(routes: Routes) -> Tensor:
    """(T,) bool"""
    if routes.live is not None:
        return routes.live
    return torch.ones(routes.tokens, dtype=torch.bool, device=routes.logits.device)


def _masked(routes: Routes, values: Tensor) -> Tensor:
    """(T, n) with zeros for padding."""
    return values if routes.live is None else values.masked_fill(~routes.live.unsqueeze(-1), 0.0)


def _counts(routes: Routes, groups: int, *, first_only: bool) -> Tensor:
    """(G, E) int64: how many choices name each expert."""
    choices = routes.choices
    length = max(1, routes.tokens // groups)
    place = (choices.token // length) * routes.experts + choices.expert
    place = place[choices.rank == 0] if first_only else place
    return torch.bincount(place, minlength=groups * routes.experts).view(groups, routes.experts)
