"""The layer equals transformers' Mixtral block in outputs, losses and all gradients."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

import torch
from torch import Tensor
from transformers.models.mixtral.configuration_mixtral import MixtralConfig
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock, load_balancing_loss_func

from crew_moe.local_gate.layer import Balance, LinearGate, MoELayer, SwiGLUExperts, TopK, balance_loss
from tests.local_gate.layer.comparing import furthest, gradients, slope

B, S, D, F, E, K = 2, 7, 12, 20, 5, 2
NEAR = 1e-5
"""float32; the block's softmax is float32 in every dtype."""


class Pair:
    """The same weights in both."""

    def __init__(self) -> None:
        config = MixtralConfig(hidden_size=D, intermediate_size=F, num_local_experts=E, num_experts_per_tok=K)
        self.theirs = MixtralSparseMoeBlock(config)
        gate, experts = LinearGate(D, E), SwiGLUExperts(E, D, F)
        self.weights: list[Tensor] = [gate.weight, experts.gate_up, experts.down]
        self.their_weights = [self.theirs.gate.weight, self.theirs.experts.gate_up_proj, self.theirs.experts.down_proj]
        for ours, theirs in zip(self.weights, self.their_weights, strict=True):
            theirs.data.copy_(ours)
        self.ours = MoELayer(gate=gate, router=TopK(k=K), experts=experts)
        self.x = torch.randn(B, S, D, requires_grad=True)

    def apart(self) -> float:
        """The largest difference in the output or in any gradient."""
        ours, _ = self.ours(self.x)
        theirs = self.theirs(self.x)
        return furthest(
            [ours, *gradients(slope(ours), [self.x, *self.weights])],
            [theirs, *gradients(slope(theirs), [self.x, *self.their_weights])],
        )


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_outputs_and_all_gradients_are_the_block_s(pair: Pair) -> None:
    assert pair.apart() <= NEAR


@pytest.mark.parametrize("which", [0, 1, 2], ids=["gate", "gate_up", "down"])
def test_a_perturbed_weight_is_seen(pair: Pair, which: int) -> None:
    with torch.no_grad():
        pair.weights[which][0].add_(1e-3)

    assert pair.apart() > 10 * NEAR


def test_bfloat16_equals_the_block_to_its_precision(pair: Pair) -> None:
    pair.ours.bfloat16(), pair.theirs.bfloat16()
    x = pair.x.detach().bfloat16()

    ours, theirs = pair.ours(x)[0], pair.theirs(x)

    assert ours.dtype is torch.bfloat16
    torch.testing.assert_close(ours, theirs, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("padded", [False, True])
def test_balance_loss_and_its_gradients_are_load_balancing_loss_func_s(pair: Pair, padded: bool) -> None:
    mask = torch.ones(B, S, dtype=torch.long)
    mask[1, 4:] = 0
    _, report = pair.ours(pair.x, mask if padded else None)
    logits, _, _ = pair.theirs.gate(pair.x)

    ours = balance_loss(report.routes, Balance.MIXTRAL)
    theirs = load_balancing_loss_func((logits,), num_experts=E, top_k=K, attention_mask=mask if padded else None)

    assert furthest([ours], [theirs]) <= NEAR
    assert furthest(
        gradients(ours, [pair.x, pair.weights[0]]), gradients(theirs, [pair.x, pair.their_weights[0]])
    ) <= NEAR  # fmt: skip
    assert furthest([balance_loss(report.routes, Balance.SWITCH) * K], [theirs]) <= NEAR
