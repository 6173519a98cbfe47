"""The layer equals a loop over its tokens in float64, in outputs and all gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from torch import Tensor
from torch.nn import functional

from crew_moe.errors import InvalidInput
from crew_moe.local_gate.layer import (
    Capacity,
    ExpertChoice,
    FFNExperts,
    LinearGate,
    MoELayer,
    Overflow,
    Priority,
    Rounding,
    SharedExperts,
    SwiGLUExperts,
    Switch,
    TokenRouter,
    TopK,
    TopP,
    TwoMatrixExperts,
    Weighting,
)
from tests.local_gate.layer.comparing import furthest, gradients, slope
from tests.local_gate.layer.loop import Loop

B, S, D, F, E = 2, 6, 5, 7, 4
NEAR = 1e-10  # float64
TIGHT = {
    "drop": Capacity(factor=0.7),
    "drop by position": Capacity(factor=0.7, priority=Priority.POSITION, rounding=Rounding.FLOOR),
    "drop by probability": Capacity(factor=0.6, priority=Priority.PROBABILITY),
    "reroute": Capacity(factor=0.8, overflow=Overflow.REROUTE),
    "reroute by probability": Capacity(factor=1.1, overflow=Overflow.REROUTE, priority=Priority.PROBABILITY),
    "reroute per sequence": Capacity(factor=1.0, overflow=Overflow.REROUTE, per_sequence=True),
    "residual per sequence": Capacity(factor=0.5, overflow=Overflow.RESIDUAL, per_sequence=True),
    "at least two": Capacity(factor=0.1, least=2),
}
ROUTERS: dict[str, TokenRouter] = {
    "top-k": TopK(k=2, capacity=Capacity(factor=0.8)),
    "switch": Switch(capacity=Capacity(factor=1.0, overflow=Overflow.REROUTE)),
    "top-p": TopP(p=0.6, k=3),
    "expert choice": ExpertChoice(factor=1.5, per_sequence=True),
}


def by_hand(experts: FFNExperts) -> Callable[[Tensor, int], Tensor]:
    """One expert on one token (d,)."""

    def swiglu(x: Tensor, number: int) -> Tensor:
        assert isinstance(experts, SwiGLUExperts)
        gate, up = experts.gate_up[number][:F], experts.gate_up[number][F:]
        return experts.down[number] @ (functional.silu(gate @ x) * (up @ x))

    def two(x: Tensor, number: int) -> Tensor:
        assert isinstance(experts, TwoMatrixExperts)
        return experts.w_out[number] @ torch.relu(experts.w_in[number] @ x)

    return swiglu if isinstance(experts, SwiGLUExperts) else two


def layer_of(router: TokenRouter, experts: FFNExperts | None = None, shared: FFNExperts | None = None) -> MoELayer:
    return MoELayer(
        gate=LinearGate(D, E),
        router=router,
        experts=experts or SwiGLUExperts(E, D, F),
        shared=None if shared is None else SharedExperts(shared),
    ).double()


def tokens(*shape: int) -> Tensor:
    return torch.randn(*(shape or (B, S, D)), dtype=torch.float64, requires_grad=True)


def _apart(layer: MoELayer, loop: Loop, x: Tensor, mask: Tensor | None = None) -> float:
    """The largest difference from the loop in the output or in any gradient."""
    live = [True] * (B * S) if mask is None else mask.reshape(-1).tolist()
    assert isinstance(layer.gate, LinearGate)
    assert isinstance(layer.experts, FFNExperts)
    made, _ = layer(x, mask)
    flat = x.reshape(-1, D)
    expected = loop.run(flat, flat @ layer.gate.weight.T, by_hand(layer.experts), live, S).view_as(x)
    of = [x, *layer.parameters()]
    return furthest([made, *gradients(slope(made), of)], [expected, *gradients(slope(expected), of)])


@pytest.mark.parametrize("weighting", Weighting)
@pytest.mark.parametrize("made", [SwiGLUExperts, TwoMatrixExperts])
@pytest.mark.parametrize("k", [1, 2, 4])
def test_top_k_equals_the_loop(
    made: type[SwiGLUExperts] | type[TwoMatrixExperts], k: int, weighting: Weighting
) -> None:
    layer = layer_of(TopK(k=k, weighting=weighting), made(E, D, F))

    assert _apart(layer, Loop(k=k, weighting=weighting), tokens()) <= NEAR


@pytest.mark.parametrize("weighting", Weighting)
@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("capacity", TIGHT.values(), ids=TIGHT)
@pytest.mark.parametrize("padded", [False, True])
def test_capacity_equals_the_loop(capacity: Capacity, k: int, weighting: Weighting, padded: bool) -> None:
    layer = layer_of(TopK(k=k, weighting=weighting, capacity=capacity))
    mask = torch.rand(B, S) < 0.7 if padded else None

    assert _apart(layer, Loop(k=k, weighting=weighting, capacity=capacity), tokens(), mask) <= NEAR


@pytest.mark.parametrize("which", range(3), ids=["gate", "gate_up", "down"])
def test_a_perturbed_weight_is_seen(which: int) -> None:
    layer, x = layer_of(TopK(k=2)), tokens()
    right, _ = layer(x)

    with torch.no_grad():
        list(layer.parameters())[which][0].add_(1e-6)

    assert furthest([layer(x)[0]], [right]) > 100 * NEAR


@pytest.mark.parametrize("router", ROUTERS.values(), ids=ROUTERS)
def test_gradients_are_those_of_finite_differences(router: TokenRouter) -> None:
    layer = layer_of(router, TwoMatrixExperts(E, D, F, "gelu"), shared=TwoMatrixExperts(1, D, F, "gelu"))

    assert torch.autograd.gradcheck(lambda x: layer(x)[0], (tokens(),), fast_mode=True)


def test_shared_experts_work_on_every_token() -> None:
    shared = SwiGLUExperts(2, D, F)
    layer, x = layer_of(TopK(k=2), shared=shared), tokens(9, D)
    alone = MoELayer(gate=layer.gate, router=layer.router, experts=layer.experts)

    expected = torch.stack([sum((by_hand(shared)(row, number) for number in range(2)), torch.zeros(D)) for row in x])

    assert furthest([layer(x)[0]], [alone(x)[0] + expected]) <= NEAR


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu"])
def test_shared_experts_learn_with_any_activation(activation: str) -> None:
    shared = SharedExperts(SwiGLUExperts(2, D, F, activation)).double()

    assert torch.autograd.gradcheck(shared, (tokens(3, D),))


@pytest.mark.parametrize("router", ROUTERS.values(), ids=ROUTERS)
def test_padding_changes_nothing_and_becomes_zeros(router: TokenRouter) -> None:
    layer, x = layer_of(router, shared=SwiGLUExperts(1, D, F)), tokens()
    mask = torch.ones(B, S + 3, dtype=torch.bool)
    mask[:, S:] = False

    alone, report = layer(x)
    padded, with_padding = layer(torch.cat([x, torch.full((B, 3, D), 1e3)], dim=1), mask)

    assert furthest([alone], [padded[:, :S]]) <= NEAR
    assert not padded[:, S:].any()
    assert furthest([report.loss()], [with_padding.loss()]) <= NEAR
    assert report.diagnostics() == with_padding.diagnostics()


@pytest.mark.parametrize("router", ROUTERS.values(), ids=ROUTERS)
@pytest.mark.parametrize("shape", [(0, D), (1, D), (0, S, D), (2, 0, D), (1, 1, D)])
def test_few_tokens_or_none(router: TokenRouter, shape: tuple[int, ...]) -> None:
    layer, x = layer_of(router), tokens(*shape)

    y, report = layer(x)

    assert y.shape == x.shape
    (y.sum() + report.loss()).backward()
    assert all(torch.isfinite(one.grad).all() for one in [x, *layer.parameters()] if one.grad is not None)
    assert 0 <= report.diagnostics().used <= 1


@pytest.mark.parametrize("router", ROUTERS.values(), ids=ROUTERS)
def test_nothing_but_padding_becomes_zeros(router: TokenRouter) -> None:
    y, report = layer_of(router)(tokens(), torch.zeros(B, S))

    assert not y.any()
    assert report.loss().item() == 0
    assert report.routes.dropped == 0


@pytest.mark.parametrize("router", ROUTERS.values(), ids=ROUTERS)
def test_padding_that_is_not_a_number_spoils_no_gradient(router: TokenRouter) -> None:
    layer = layer_of(router, shared=SwiGLUExperts(1, D, F))
    x, mask = torch.randn(B, S, D, dtype=torch.float64), torch.ones(B, S)
    x[1, -2:], mask[1, -2:] = torch.nan, 0  # as attention leaves rows that may look at nothing

    y, report = layer(x, mask)
    found = gradients(slope(y) + report.loss(), layer.parameters())

    assert all(made.isfinite().all() for made in (y, *found))


def test_all_tokens_may_go_to_one_expert() -> None:
    layer = layer_of(TopK(k=1, weighting=Weighting.PROBABILITY))
    x = tokens().detach().abs().requires_grad_()
    with torch.no_grad():
        layer.gate.weight.copy_(torch.eye(E)[:, 2:3].expand(E, D) * 5)  # type: ignore[operator]  # a linear gate

    assert _apart(layer, Loop(k=1, weighting=Weighting.PROBABILITY), x) <= NEAR
    assert layer(x)[1].diagnostics().utilisation == (0, 0, 1, 0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("router", ROUTERS.values(), ids=ROUTERS)
def test_output_has_the_tokens_dtype(router: TokenRouter, dtype: torch.dtype) -> None:
    layer = layer_of(router, shared=SwiGLUExperts(1, D, F)).to(dtype)

    y, report = layer(tokens().to(dtype))

    assert y.dtype is dtype
    assert report.routes.weight.dtype is torch.promote_types(dtype, torch.float32)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_gating_network_may_stay_in_float32_beside_bfloat16_experts(dtype: torch.dtype) -> None:
    layer = layer_of(TopK(k=2), shared=SwiGLUExperts(1, D, F)).bfloat16()
    layer.gate.float()

    y, report = layer(tokens().to(dtype))

    assert (y.dtype, report.routes.logits.dtype) == (dtype, torch.float32)


@pytest.mark.parametrize(("load", "k"), [(0.0, 3), (0.5, 3), (0.76, 1), (1.0, 1), (9.0, 1)])
def test_load_takes_experts_from_every_token(load: float, k: int) -> None:
    layer, x = layer_of(TopK(k=3)), tokens()

    made, report = layer(x, load=load)

    assert report.routes.k == k
    assert furthest([made], [layer(x, k=k)[0]]) == 0


def test_load_takes_from_what_the_call_asks_for() -> None:
    layer, x = layer_of(TopK(k=4)), tokens()

    assert [layer(x, k=k, load=0.75)[1].routes.k for k in (None, 3, 1, 9)] == [2, 2, 1, 2]


@pytest.mark.parametrize(
    ("x", "mask", "options", "where"),
    [
        (torch.zeros(D), None, {}, "x"),
        (torch.zeros(B, S, D), torch.ones(B), {}, "mask"),
        (torch.zeros(B, S, D), None, {"k": 0}, "k"),
        (torch.zeros(B, S, D), None, {"k": 0, "load": 0.7}, "k"),
        (torch.zeros(B, S, D), None, {"load": -1.0}, "load"),
        (torch.zeros(B, S, D), None, {"load": float("nan")}, "load"),
    ],
)
def test_what_does_not_fit_is_named(x: Tensor, mask: Tensor | None, options: dict[str, float], where: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        layer_of(TopK(k=2))(x.double(), mask, **options)

    assert refused.value.where == where
