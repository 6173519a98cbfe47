from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from torch import Generator

from crew_moe.errors import InvalidInput
from crew_moe.local_gate.layer import GatingNetwork, LinearGate, MoELayer, NoisyGate, Scores, SwiGLUExperts, TopK

D, E = 5, 4
NOISY: Final[dict[str, Callable[[], GatingNetwork]]] = {
    "jitter": lambda: LinearGate(D, E, jitter=0.1),
    "gumbel": lambda: LinearGate(D, E, gumbel=1.0),
    "learned": lambda: NoisyGate(D, E),
}


def scored(gate: GatingNetwork, x: torch.Tensor, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """(logits, what the choice is made by)"""
    scores: Scores = gate(x, Generator().manual_seed(seed))
    return scores.logits, scores.logits if scores.selection is None else scores.selection


@pytest.mark.parametrize("name", NOISY)
def test_noise_depends_on_the_seed_alone(name: str) -> None:
    gate, x = NOISY[name](), torch.randn(6, D)

    assert torch.equal(scored(gate, x)[1], scored(gate, x)[1])
    assert not torch.equal(scored(gate, x)[1], scored(gate, x, seed=2)[1])


@pytest.mark.parametrize("name", NOISY)
def test_there_is_no_noise_outside_training(name: str) -> None:
    gate, x = NOISY[name]().eval(), torch.randn(6, D)

    logits, chosen_by = scored(gate, x)

    assert torch.equal(chosen_by, logits)
    torch.testing.assert_close(logits, x @ gate.get_parameter("weight").T)


@pytest.mark.parametrize("name", NOISY)
def test_layer_with_noise_is_reproducible(name: str) -> None:
    layer, x = MoELayer(gate=NOISY[name](), router=TopK(), experts=SwiGLUExperts(E, D, 3)), torch.randn(2, 6, D)

    first, second = (layer(x, generator=Generator().manual_seed(7))[0] for _ in range(2))

    assert torch.equal(first, second)


def test_jitter_stays_within_its_bounds_and_leaves_the_token_as_it_is() -> None:
    gate, x = LinearGate(D, 1, jitter=0.1), torch.randn(500, D)
    with torch.no_grad():
        gate.weight.copy_(torch.eye(D)[:1])
    before = x.clone()

    ratio = scored(gate, x)[0][:, 0].detach() / x[:, 0]

    assert 0.9 <= float(ratio.min()) < 0.92 < 1.08 < float(ratio.max()) <= 1.1
    assert torch.equal(x, before)


def test_gumbel_noise_draws_from_the_softmax() -> None:
    gate = LinearGate(1, 3, gumbel=1.0)
    with torch.no_grad():
        gate.weight.copy_(torch.tensor([[0.0], [1.0], [2.0]]))

    logits, chosen_by = scored(gate, torch.ones(40_000, 1))

    shares = torch.bincount(chosen_by.argmax(dim=-1)) / 40_000
    torch.testing.assert_close(shares, logits[0].detach().softmax(dim=-1), rtol=0, atol=0.01)


def test_learned_noise_has_the_deviation_it_says_and_a_gradient() -> None:
    gate, x = NoisyGate(D, E), torch.ones(40_000, D)
    torch.nn.init.normal_(gate.noise)

    scores: Scores = gate(x, Generator().manual_seed(1))

    assert scores.clean is not None
    assert scores.deviation is not None
    found = (scores.logits - scores.clean).std(dim=0)
    torch.testing.assert_close(found, scores.deviation[0], rtol=0.03, atol=0)
    (slope,) = torch.autograd.grad(TopK()(scores.logits).weight.pow(2).sum(), gate.noise)
    assert slope.any()


def test_noise_in_bfloat16_is_finite() -> None:
    gate = LinearGate(D, E, gumbel=1.0, jitter=0.1).bfloat16()

    assert torch.isfinite(scored(gate, torch.randn(5_000, D).bfloat16())[1]).all()


@pytest.mark.parametrize(("jitter", "gumbel"), [(-0.1, 0.0), (1.0, 0.0), (0.0, -1.0), (float("nan"), 0.0)])
def test_senseless_noise_is_refused(jitter: float, gumbel: float) -> None:
    with pytest.raises(InvalidInput, match="jitter"):
        LinearGate(D, E, jitter=jitter, gumbel=gumbel)
