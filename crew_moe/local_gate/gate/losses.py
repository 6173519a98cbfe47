"""What training makes small, each with its gradient by the logits (rows, experts).

    cross entropy   mean over rows of -sum(target * log p)
    importance      CV^2 over experts of sum over rows of p                              (Shazeer et al. 2017, eq. 7)
    load            CV^2 over experts of sum over rows of P(expert is in the top k)      (Shazeer et al. 2017, app. A)
    router z-loss   mean over rows of logsumexp(z)^2                                     (Zoph et al. 2022, eq. 5)

where p = softmax(z) over all experts, and CV^2 = variance / mean^2. P(expert is in the top k) is the chance that its
clean logit, under new noise of the same size, is above the k-th highest noisy logit of the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from crew_moe.local_gate.gate.network import Array, softmax

_ROOT: Final = math.sqrt(2.0)
_DENSITY: Final = 1.0 / math.sqrt(2.0 * math.pi)
_erf: Final = np.frompyfunc(math.erf, 1, 1)  # numpy has none; exact to the last bit, and batches are small


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """How much each loss counts beside the cross entropy."""

    importance: float = 0.05
    load: float = 0.05
    z: float = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Loss:
    """A loss and its gradients by the noisy and by the clean logits (rows, experts)."""

    value: float
    by_noisy: Array
    by_clean: Array


def total_loss(
    clean: Array, noise: Array, targets: Array, weights: LossWeights, *, sigma: float, top_k: int = 1
) -> Loss:
    """All losses together; `noise` (rows, experts) of standard deviation `sigma` was added to the clean logits."""
    noisy = clean + noise
    entropy, by_entropy = cross_entropy(noisy, targets)
    importance, by_importance = importance_loss(noisy)
    z, by_z = z_loss(noisy)
    value = entropy + weights.importance * importance + weights.z * z
    by_noisy = by_entropy + weights.importance * by_importance + weights.z * by_z
    by_clean = np.zeros_like(clean)
    if weights.load and sigma and top_k < clean.shape[1]:
        load = load_loss(clean, noisy, sigma=sigma, top_k=top_k)
        value += weights.load * load.value
        by_noisy = by_noisy + weights.load * load.by_noisy
        by_clean = weights.load * load.by_clean
    return Loss(value, by_noisy, by_clean)


def cross_entropy(logits: Array, targets: Array) -> tuple[float, Array]:
    """`targets` (rows, experts) sum to 1 in each row."""
    shifted = logits - logits.max(-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return float(-(targets * log_p).sum() / len(logits)), (np.exp(log_p) - targets) / len(logits)


def importance_loss(logits: Array) -> tuple[float, Array]:
    """Whether all experts get the same share of the probability over the batch."""
    p = softmax(logits)
    value, slope = cv_squared(p.sum(0))
    return value, p * (slope - (p * slope).sum(-1, keepdims=True))


def z_loss(logits: Array) -> tuple[float, Array]:
    """Keeps logits small, where the softmax is exact."""
    highest = logits.max(-1, keepdims=True)
    raised = np.exp(logits - highest)
    mass = raised.sum(-1, keepdims=True)
    log_mass = highest + np.log(mass)  # (rows, 1)
    return float((log_mass**2).mean()), 2.0 * log_mass * raised / mass / len(logits)


def load_loss(clean: Array, noisy: Array, *, sigma: float, top_k: int) -> Loss:
    """Whether all experts are chosen equally often; smooth, because the noise might have been another.

    The threshold of an expert that is in the top k is the (k+1)-th highest noisy logit, of any other the k-th.
    """
    order = np.argsort(-noisy, axis=-1, kind="stable")
    rows = np.arange(len(noisy))[:, None]
    inside = np.zeros(noisy.shape, dtype=bool)
    np.put_along_axis(inside, order[:, :top_k], values=True, axis=-1)
    rivals = np.where(inside, order[:, top_k, None], order[:, top_k - 1, None])  # whose noisy logit is to be beaten
    gap = (clean - noisy[rows, rivals]) / sigma
    value, slope = cv_squared(normal_cdf(gap).sum(0))
    by_clean = slope * _DENSITY * np.exp(-0.5 * gap * gap) / sigma
    by_noisy = np.zeros_like(noisy)
    np.add.at(by_noisy, (rows, rivals), -by_clean)
    return Loss(value, by_noisy, by_clean)


def cv_squared(amounts: Array) -> tuple[float, Array]:
    """Variance over squared mean of (experts,) amounts, and its gradient by them; 0 where all are 0.

    >>> cv_squared(np.array([2.0, 2.0]))[0], cv_squared(np.array([4.0, 0.0]))[0]
    (0.0, 1.0)
    """
    count, mean = len(amounts), amounts.mean()
    if mean == 0.0:
        return 0.0, np.zeros(count)
    value = float(((amounts - mean) ** 2).mean() / mean**2)
    return value, 2.0 * ((amounts - mean) / mean**2 - value / mean) / count


def normal_cdf(values: Array) -> Array:
    """The standard normal's distribution function."""
    return 0.5 * (1.0 + np.asarray(_erf(values / _ROOT), dtype=np.float64))
