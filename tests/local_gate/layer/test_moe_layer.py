from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from torch import Tensor
from torch.nn import functional

from crew_moe.local_gate.layer import LinearGate, MoELayer, SwiGLUExperts, TopK, TwoMatrixExperts, Weighting
from tests.local_gate.layer.loop import naive

E, D, F = 4, 6, 10


def _by_hand(experts: SwiGLUExperts | TwoMatrixExperts) -> Callable[[Tensor, int], Tensor]:
    def swiglu(x: Tensor, number: int) -> Tensor:
        assert isinstance(experts, SwiGLUExperts)
        gate, up = experts.gate_up[number][:F], experts.gate_up[number][F:]
        return experts.down[number] @ (functional.silu(gate @ x) * (up @ x))

    def two(x: Tensor, number: int) -> Tensor:
        assert isinstance(experts, TwoMatrixExperts)
        return experts.w_out[number] @ torch.relu(experts.w_in[number] @ x)

    return swiglu if isinstance(experts, SwiGLUExperts) else two


def _gradients(layer: MoELayer, x: Tensor, y: Tensor) -> list[Tensor]:
    wanted = [x, *layer.parameters()]
    return list(torch.autograd.grad((y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum(), wanted))


@pytest.mark.parametrize("weighting", [Weighting.OVER_CHOSEN, Weighting.PROBABILITY])
@pytest.mark.parametrize("made", [SwiGLUExperts, TwoMatrixExperts])
@pytest.mark.parametrize("k", [1, 2, 4])
def test_layer_equals_the_loop_over_tokens(
    made: type[SwiGLUExperts] | type[TwoMatrixExperts], k: int, weighting: Weighting
) -> None:
    torch.manual_seed(k)
    experts = made(E, D, F)
    gate = LinearGate(D, E)
    layer = MoELayer(gate=gate, router=TopK(k=k, weighting=weighting), experts=experts).double()
    x = torch.randn(9, D, dtype=torch.float64, requires_grad=True)

    y, _ = layer(x)
    expected = naive(x, x @ gate.weight.T, _by_hand(experts), k=k, renormalise=weighting is Weighting.OVER_CHOSEN)

    torch.testing.assert_close(y, expected, rtol=0, atol=1e-10)
    for ours, theirs in zip(_gradients(layer, x, y), _gradients(layer, x, expected), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
