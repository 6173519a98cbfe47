"""Each loss, and its gradient against finite differences and against torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from crew_moe.local_gate.gate.losses import (
    LossWeights,
    cross_entropy,
    cv_squared,
    importance_loss,
    load_loss,
    normal_cdf,
    total_loss,
    z_loss,
)
from crew_moe.local_gate.gate.network import Array
from tests.local_gate.gate.given import batch

SIGMA = 0.5
WEIGHTS = LossWeights(importance=0.3, load=0.7, z=0.05)


def slope(value: Callable[[Array], float], at: Array, step: float = 1e-6) -> Array:
    """The gradient by central differences."""
    gradient = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        ahead, behind = at.copy(), at.copy()
        ahead[place] += step
        behind[place] -= step
        gradient[place] = (value(ahead) - value(behind)) / (2 * step)
    return gradient


@pytest.mark.parametrize("loss", [importance_loss, z_loss, lambda z: cross_entropy(z, batch()[2])])
def test_gradient_is_that_of_finite_differences(loss: Callable[[Array], tuple[float, Array]]) -> None:
    logits = batch()[0]

    assert loss(logits)[1] == pytest.approx(slope(lambda z: loss(z)[0], logits), abs=1e-8)


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_gradient_of_all_losses_is_that_of_finite_differences(top_k: int) -> None:
    clean, noise, targets = batch(seed=top_k)

    def value(z: Array) -> float:
        return total_loss(z, noise, targets, WEIGHTS, sigma=SIGMA, top_k=top_k).value

    loss = total_loss(clean, noise, targets, WEIGHTS, sigma=SIGMA, top_k=top_k)

    assert loss.by_noisy + loss.by_clean == pytest.approx(slope(value, clean), abs=1e-8)


def test_wrong_gradient_is_told_by_finite_differences() -> None:
    logits = batch()[0]
    wrong = importance_loss(logits)[1] * 1.001

    assert wrong != pytest.approx(slope(lambda z: importance_loss(z)[0], logits), abs=1e-8)


def by_torch(clean: Array, noise: Array, targets: Array, top_k: int, sigma: float = SIGMA) -> tuple[float, Any]:
    """The same losses written in torch's words, with the gradient that torch finds."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    z = torch.tensor(clean, dtype=torch.float64, requires_grad=True)
    noisy = z + torch.tensor(noise)

    def cv2(amounts: Any) -> Any:
        return amounts.var(unbiased=False) / amounts.mean() ** 2

    highest = noisy.topk(top_k + 1, dim=-1)
    inside = torch.zeros_like(noisy).scatter(1, highest.indices[:, :top_k], 1.0).bool()
    threshold = torch.where(inside, highest.values[:, top_k, None], highest.values[:, top_k - 1, None])
    chance = torch.distributions.Normal(0.0, 1.0).cdf((z - threshold) / sigma)
    loss = -(torch.tensor(targets) * noisy.log_softmax(-1)).sum(-1).mean()
    loss = loss + WEIGHTS.importance * cv2(noisy.softmax(-1).sum(0)) + WEIGHTS.load * cv2(chance.sum(0))
    loss = loss + WEIGHTS.z * (noisy.logsumexp(-1) ** 2).mean()
    loss.backward()
    assert z.grad is not None
    return loss.item(), z.grad.numpy()


@pytest.mark.parametrize("top_k", [1, 2])
def test_losses_and_gradient_are_those_of_torch(top_k: int) -> None:
    clean, noise, targets = batch(seed=10 + top_k, rows=16)
    expected, gradient = by_torch(clean, noise, targets, top_k)

    loss = total_loss(clean, noise, targets, WEIGHTS, sigma=SIGMA, top_k=top_k)

    assert loss.value == pytest.approx(expected, abs=1e-9)
    assert loss.by_noisy + loss.by_clean == pytest.approx(gradient, abs=1e-9)


def test_torch_tells_a_loss_that_is_slightly_off() -> None:
    clean, noise, targets = batch(seed=11, rows=16)
    _, gradient = by_torch(clean, noise, targets, top_k=1)

    loss = total_loss(clean, noise, targets, WEIGHTS, sigma=SIGMA * 1.0001, top_k=1)

    assert loss.by_noisy + loss.by_clean != pytest.approx(gradient, abs=1e-9)


def test_balanced_amounts_have_no_variation() -> None:
    assert cv_squared(np.array([3.0, 3.0, 3.0]))[0] == 0.0
    assert cv_squared(np.array([1.0, 0.0, 0.0, 0.0]))[0] == 3.0  # one of E has everything: E - 1
    assert cv_squared(np.zeros(3))[0] == 0.0


def test_load_counts_who_would_be_chosen_under_other_noise() -> None:
    even = np.zeros((8, 2))
    noisy = np.tile([[0.1, -0.1]], (8, 1))
    sure = np.tile([[9.0, -9.0]], (8, 1))

    assert load_loss(even, noisy, sigma=1.0, top_k=1).value < 0.01
    assert load_loss(sure, sure, sigma=1.0, top_k=1).value == pytest.approx(1.0)


def test_normal_distribution_is_exact() -> None:
    assert normal_cdf(np.array([0.0, 1.0, -1.959963984540054])) == pytest.approx(
        [0.5, 0.5 * (1 + math.erf(1 / math.sqrt(2))), 0.025], abs=1e-12
    )
