"""Times the mixture-of-experts layer beside its yardsticks; prints the medians in microseconds as JSON.

`python -m tests.benchmarks.local_layer_worker ROUNDS one|all`; local_layer.py starts it with the allocator held still.
On one core it counts CPU time, which a busy machine disturbs little, on all cores what passes on the wall.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor
from transformers import MixtralConfig
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

from crew_moe.local_gate.layer import FFNExperts, LinearGate, MoELayer, SwiGLUExperts, TopK, TwoMatrixExperts
from crew_moe.local_gate.layer.few import few
from crew_moe.local_gate.layer.grouped import grouped
from crew_moe.local_gate.layer.grouping import Grouping
from tests.benchmarks.measure import Timing, in_turns, sample_ns, timing

TOKENS: Final = 4096
WIDTH: Final = 512
IMPLEMENTATIONS: Final = ("eager", "grouped_mm")  # transformers' own
ONE_CORE: Final = sys.argv[2] == "one"
CLOCK: Final = time.thread_time_ns if ONE_CORE else time.perf_counter_ns
Routes = tuple[Tensor, Tensor, Tensor]


def main() -> None:
    rounds = int(sys.argv[1])
    if ONE_CORE:
        torch.set_num_threads(1)
    torch.manual_seed(0)
    cases: Mapping[str, Mapping[str, Callable[[], Timing]]] = {
        "E8 k2": _forward(experts=8, k=2, inner=2048),
        "E64 k8": _forward(experts=64, k=8, inner=512),
        "90 % to one": _skewed(share=0.9),
        "all to one": _skewed(share=1.0),
        "transformers": _transformers(),
        "backward E8 k2": _backward(experts=8, k=2, inner=2048),
        "backward E64 k8": _backward(experts=64, k=8, inner=512),
    }
    seen = {name: _medians_us(case, rounds) for name, case in cases.items()}
    seen |= {f"T{tokens}": _medians_us(_few(tokens), 4 * rounds) for tokens in (1, 4, 16)}
    json.dump(seen, sys.stdout)


def _medians_us(case: Mapping[str, Callable[[], Timing]], rounds: int) -> dict[str, float]:
    return {name: measured.p50_us for name, measured in in_turns(case, rounds).items()}


def _once(call: Callable[[], object]) -> Timing:
    def inferred(_: int) -> None:
        with torch.no_grad():
            call()

    return timing(sample_ns(inferred, 1, CLOCK), CLOCK)


def _backward_once(forward: Callable[[], Tensor], wanted: list[Tensor], gradient: Tensor) -> Timing:
    """The backward pass alone."""
    y = forward()
    return timing(sample_ns(lambda _: torch.autograd.grad(y, wanted, gradient), 1, CLOCK), CLOCK)


def _layer(*, experts: int, k: int, inner: int) -> MoELayer:
    gate = LinearGate(WIDTH, experts)
    return MoELayer(gate=gate, router=TopK(k=k), experts=TwoMatrixExperts(experts, WIDTH, inner))


def _dense(inner: int) -> tuple[Tensor, Tensor]:
    """Two matrices; to multiply with them takes what an expert with `inner` rows takes, less the activation."""
    return torch.randn(inner, WIDTH, requires_grad=True), torch.randn(WIDTH, inner, requires_grad=True)


def _product(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return (x @ first.t()) @ second.t()


def _forward(*, experts: int, k: int, inner: int) -> dict[str, Callable[[], Timing]]:
    x, layer, dense = torch.randn(TOKENS, WIDTH), _layer(experts=experts, k=k, inner=inner), _dense(k * inner)
    return {
        "ours": partial(_once, lambda: layer(x)),
        "dense": partial(_once, lambda: _product(x, *dense)),
    }


def _skewed(*, share: float) -> dict[str, Callable[[], Timing]]:
    """One expert per token: expert 0 for this share of them, any for the others."""
    x, experts, dense = torch.randn(TOKENS, WIDTH), TwoMatrixExperts(8, WIDTH, 2048), _dense(2048)
    number = torch.randint(8, (TOKENS,)).masked_fill(torch.rand(TOKENS) < share, 0)
    routes: Routes = (number, torch.arange(TOKENS), torch.ones(TOKENS))
    return {
        "ours": partial(_once, lambda: experts.weighted_sum(x, *routes)),
        "dense": partial(_once, lambda: _product(x, *dense)),
    }


def _transformers() -> dict[str, Callable[[], Timing]]:
    """Mixtral's whole block, router included, with the same weights."""
    x = torch.randn(1, TOKENS, WIDTH)
    experts = SwiGLUExperts(8, WIDTH, 2048)
    ours = MoELayer(gate=LinearGate(WIDTH, 8), router=TopK(k=2), experts=experts)
    weights = {"gate.weight": ours.gate.get_parameter("weight")}
    weights |= {"experts.gate_up_proj": experts.gate_up, "experts.down_proj": experts.down}
    contenders: dict[str, Callable[[], Timing]] = {"ours": partial(_once, lambda: ours(x))}
    for name in IMPLEMENTATIONS:
        config = MixtralConfig(hidden_size=WIDTH, intermediate_size=2048, num_local_experts=8, num_experts_per_tok=2)
        config._experts_implementation = name
        block: Any = MixtralSparseMoeBlock(config)
        block.load_state_dict(weights)
        with torch.no_grad():
            torch.testing.assert_close(block(x), ours(x)[0], rtol=1e-3, atol=1e-4)
        contenders[name] = partial(_once, partial(block, x))
    return contenders


def _backward(*, experts: int, k: int, inner: int) -> dict[str, Callable[[], Timing]]:
    x, gradient = torch.randn(TOKENS, WIDTH, requires_grad=True), torch.randn(TOKENS, WIDTH)
    layer, dense = _layer(experts=experts, k=k, inner=inner), _dense(k * inner)
    return {
        "ours": partial(_backward_once, lambda: layer(x)[0], [x, *layer.parameters()], gradient),
        "dense": partial(_backward_once, lambda: _product(x, *dense), [x, *dense], gradient),
    }


def _few(tokens: int) -> dict[str, Callable[[], Timing]]:
    """A few tokens, 8 experts of 32 MiB; the floor is a pass over the weights of those that are active."""
    experts, x = TwoMatrixExperts(8, 1024, 4096), torch.randn(tokens, 1024)
    weight, number = torch.randn(tokens, 8).softmax(-1).topk(2, -1)
    active = sorted(set(number.reshape(-1).tolist()))
    routes: Routes = (number.reshape(-1), torch.arange(tokens).repeat_interleave(2), weight.reshape(-1))
    return {
        "few": partial(_once, lambda: few(x, *routes, experts)),
        "grouped": partial(_once, lambda: _grouped(x, routes, experts)),
        "floor": partial(_once, lambda: [stack[e].sum() for e in active for stack in experts.matrices()]),
    }


def _grouped(x: Tensor, routes: Routes, experts: FFNExperts) -> Tensor:
    number, token, weight = routes
    return grouped(x, weight, experts, Grouping.of(number, token, experts=experts.experts, tokens=len(x)))


if __name__ == "__main__":
    main()
