from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from torch import Tensor

from crew_moe.errors import InvalidInput
from crew_moe.local_gate.layer import (
    Balance,
    LinearGate,
    LossWeights,
    MoELayer,
    NoisyGate,
    Routes,
    Scores,
    SwiGLUExperts,
    TopK,
    balance_loss,
    importance_loss,
    load_loss,
    total_loss,
    z_loss,
)

T, E, K = 12, 4, 2


def balanced() -> Routes:
    """Every expert is chosen as often and as surely as every other: each token prefers the next two."""
    turns = torch.stack([torch.arange(E).roll(token) for token in range(T)])
    return TopK(k=K)(turns.double())


def one_sided() -> Routes:
    return TopK(k=K)(torch.tensor([50.0, 49.0, 0.0, 0.0], dtype=torch.float64).expand(T, E))


@pytest.mark.parametrize(
    ("convention", "value"), [*{Balance.SWITCH: 1, Balance.MIXTRAL: K, Balance.FIRST_CHOICE: 1}.items()]
)
def test_balance_loss_of_balanced_routing(convention: Balance, value: float) -> None:
    assert balance_loss(balanced(), convention).item() == pytest.approx(value)


def test_balance_loss_of_one_expert_for_all_is_the_number_of_experts() -> None:
    routes = TopK(k=1)(torch.tensor([90.0, 0.0, 0.0, 0.0]).expand(T, E))

    assert balance_loss(routes).item() == pytest.approx(E)


def test_importance_loss_is_zero_when_balanced_and_grows() -> None:
    assert importance_loss(balanced()).item() == pytest.approx(0)
    odds = [1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1)), 0, 0]
    expected = sum((E * share - 1) ** 2 for share in odds) / E

    assert importance_loss(one_sided()).item() == pytest.approx(expected)


def test_z_loss_is_the_mean_square_of_the_logsumexp() -> None:
    routes = TopK(k=1)(torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 4.0]], dtype=torch.float64))
    expected = (math.log(4) ** 2 + math.log(sum(math.exp(n) for n in (1, 2, 3, 4))) ** 2) / 2

    assert z_loss(routes).item() == pytest.approx(expected)


def test_losses_per_sequence_are_the_mean_of_each_one_s() -> None:
    first, second = torch.randn(T, E), torch.randn(T, E)

    both = TopK(k=K)(torch.cat([first, second]), sequences=2)

    alone = [balance_loss(TopK(k=K)(logits)) for logits in (first, second)]
    torch.testing.assert_close(balance_loss(both, per_sequence=True), torch.stack(alone).mean())


def _scores(logits: Tensor, clean: Tensor, deviation: Tensor) -> Scores:
    return Scores(logits=logits, clean=clean, deviation=deviation)


def test_load_loss_counts_the_chance_to_be_chosen_if_only_that_noise_is_drawn_again() -> None:
    """The chances equal the shares of many draws."""
    draws = 20_000
    logits, clean = torch.randn(1, E, dtype=torch.float64), torch.randn(1, E, dtype=torch.float64)
    deviation = torch.rand(1, E, dtype=torch.float64) + 0.5
    shares = []
    for expert in range(E):
        again = logits.repeat(draws, 1)
        again[:, expert] = clean[0, expert] + deviation[0, expert] * torch.randn(draws, dtype=torch.float64)
        shares.append((again.topk(K).indices == expert).any(dim=-1).double().mean())
    expected = torch.stack(shares)

    made = load_loss(TopK(k=K)(logits), _scores(logits, clean, deviation))

    assert made.item() == pytest.approx(float(expected.var(correction=0) / expected.mean() ** 2), abs=0.03)


def test_load_loss_is_zero_when_balanced() -> None:
    logits = torch.stack([torch.arange(E).roll(token) for token in range(T)]).double()

    assert load_loss(balanced(), _scores(logits, logits, torch.ones_like(logits))).item() == pytest.approx(0)
    everyone = TopK(k=E)(logits)
    assert load_loss(everyone, _scores(logits, logits, torch.ones_like(logits))).item() == 0


def test_load_loss_needs_learned_noise() -> None:
    with pytest.raises(InvalidInput, match="NoisyGate"):
        load_loss(balanced(), Scores(logits=balanced().logits))


LOSSES: Final[dict[str, Callable[[Routes, Scores], Tensor]]] = {
    "balance": lambda routes, _: balance_loss(routes),
    "importance": lambda routes, _: importance_loss(routes),
    "load": load_loss,
    "z": lambda routes, _: z_loss(routes),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    gate, live = NoisyGate(3, E).double(), torch.arange(T) % 5 != 0

    def loss(x: Tensor) -> Tensor:
        scores = gate(x, torch.Generator().manual_seed(3))
        return LOSSES[name](TopK(k=K)(scores.logits, live=live), scores)

    x = torch.randn(T, 3, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(loss, (x,))


@pytest.mark.parametrize("name", LOSSES)
def test_padding_has_no_share(name: str) -> None:
    logits = torch.randn(T, E, dtype=torch.float64)
    padded = torch.cat([logits, torch.full((5, E), 9.0)])
    live = torch.arange(T + 5) < T

    alone = LOSSES[name](TopK(k=K)(logits), _scores(logits, logits, torch.ones_like(logits)))
    beside = LOSSES[name](TopK(k=K)(padded, live=live), _scores(padded, padded, torch.ones_like(padded)))

    torch.testing.assert_close(alone, beside)


@pytest.mark.parametrize(
    ("weights", "names"),
    [
        (LossWeights(balance=1, z=0), ["balance"]),
        (LossWeights(balance=0, importance=1, load=1, z=1), ["importance", "load", "z"]),
        (LossWeights(balance=0, z=0), []),
    ],
)
def test_total_is_the_weighted_sum(weights: LossWeights, names: list[str]) -> None:
    scores: Scores = NoisyGate(3, E)(torch.randn(T, 3))
    routes = TopK(k=K)(scores.logits)

    expected = sum((LOSSES[name](routes, scores) for name in names), torch.zeros(()))

    torch.testing.assert_close(total_loss(routes, scores, weights), expected)


def test_balance_loss_evens_out_an_uneven_router() -> None:
    layer = MoELayer(gate=LinearGate(6, E), router=TopK(k=1), experts=SwiGLUExperts(E, 6, 4))
    x = torch.randn(200, 6) + 1.0
    optimiser = torch.optim.SGD(layer.gate.parameters(), lr=0.5)

    before = layer(x)[1].diagnostics().load_cv2
    for _ in range(100):
        optimiser.zero_grad()
        layer(x)[1].loss(LossWeights(balance=1.0)).backward()
        optimiser.step()

    assert layer(x)[1].diagnostics().load_cv2 < before / 3
