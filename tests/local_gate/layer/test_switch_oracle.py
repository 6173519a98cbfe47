"""The layer equals transformers' Switch router and sparse MLP: capacity per sequence, in the tokens' order."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

import torch
from torch import Tensor
from transformers.models.switch_transformers import modeling_switch_transformers as theirs
from transformers.models.switch_transformers.configuration_switch_transformers import SwitchTransformersConfig

from crew_moe.local_gate.layer import Capacity, LinearGate, MoELayer, Switch, TwoMatrixExperts, balance_loss, z_loss
from tests.local_gate.layer.comparing import furthest, gradients, slope

B, S, D, F, E = 3, 8, 10, 14, 4
NEAR = 1e-5  # float32


class Pair:
    """The same weights in both; each expert takes `room` tokens of each sequence."""

    def __init__(self, room: int) -> None:
        config = SwitchTransformersConfig(d_model=D, d_ff=F, num_experts=E, expert_capacity=room, dropout_rate=0.0)
        self.theirs = theirs.SwitchTransformersSparseMLP(config).eval()
        gate, experts = LinearGate(D, E), TwoMatrixExperts(E, D, F, "relu")
        self.weights: list[Tensor] = [gate.weight, experts.w_in, experts.w_out]
        with torch.no_grad():
            self.theirs.router.classifier.weight.copy_(gate.weight)
            for number in range(E):
                self.theirs.experts[f"expert_{number}"].wi.weight.copy_(experts.w_in[number])
                self.theirs.experts[f"expert_{number}"].wo.weight.copy_(experts.w_out[number])
        self.ours = MoELayer(
            gate=gate, router=Switch(capacity=Capacity(fixed=room, per_sequence=True)), experts=experts
        )
        self.x = torch.randn(B, S, D, requires_grad=True)

    def their_gradients(self, scalar: Tensor) -> list[Tensor]:
        """In the shapes of our weights: input, gating network, the experts' stacked matrices."""
        each = [self.theirs.experts[f"expert_{number}"] for number in range(E)]
        matrices = [one.wi.weight for one in each] + [one.wo.weight for one in each]
        x, gate, *rest = gradients(scalar, [self.x, self.theirs.router.classifier.weight, *matrices])
        return [x, gate, torch.stack(rest[:E]), torch.stack(rest[E:])]

    def apart(self) -> float:
        """The largest difference in the output or in any gradient."""
        made, _ = self.ours(self.x)
        expected = self.theirs(self.x)
        return furthest(
            [made, *gradients(slope(made), [self.x, *self.weights])],
            [expected, *self.their_gradients(slope(expected))],
        )


@pytest.mark.parametrize("room", [1, 2, 8])
def test_outputs_and_all_gradients_are_the_sparse_mlp_s(room: int) -> None:
    assert Pair(room).apart() <= NEAR


@pytest.mark.parametrize("which", [0, 1, 2], ids=["gate", "w_in", "w_out"])
def test_a_perturbed_weight_is_seen(which: int) -> None:
    pair = Pair(2)
    with torch.no_grad():
        pair.weights[which][0].add_(1e-2)

    assert pair.apart() > 10 * NEAR


def test_the_tokens_that_are_dropped_are_the_router_s() -> None:
    pair = Pair(1)
    kept, _, _ = pair.theirs.router(pair.x)  # (B, S, E) one-hot

    _, report = pair.ours(pair.x)

    assert report.routes.dropped == B * S - int(kept.sum()) > 0
    assert report.routes.token.tolist() == kept.sum(dim=-1).reshape(-1).nonzero().reshape(-1).tolist()


def test_losses_and_their_gradients_are_the_library_s() -> None:
    pair = Pair(2)
    _, report = pair.ours(pair.x)
    _, _, logits = pair.theirs.router(pair.x)
    expected = {
        "z": theirs.router_z_loss_func(logits),
        "balance": theirs.load_balancing_loss_func(logits.softmax(dim=-1), logits.argmax(dim=-1)),
    }

    made = {"z": z_loss(report.routes), "balance": balance_loss(report.routes, per_sequence=True)}

    for name, ours in made.items():
        assert furthest(
            [ours, *gradients(ours, [pair.x, pair.weights[0]])],
            [expected[name], *pair.their_gradients(expected[name])[:2]],
        ) <= NEAR  # fmt: skip
