"""Experts spread over processes equal the same experts in one process."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from torch import Tensor, distributed

from crew_moe.domain.local_work import Trouble
from crew_moe.errors import HostFailed, InvalidInput
from crew_moe.local_gate.layer import (
    Experts,
    FFNExperts,
    LinearGate,
    MoELayer,
    ParallelExperts,
    SwiGLUExperts,
    TopK,
    TwoMatrixExperts,
    sum_shared_gradients,
)
from tests.local_gate.layer.ranks import on_ranks

E, D, F = 6, 5, 7
TOKENS = [9, 0, 4, 1]  # of each rank
IDLE = (4, 5)  # experts that no token chooses: of 2 ranks a part of the last one's, of 4 ranks all of the last one's


def _whole(kind: type[SwiGLUExperts | TwoMatrixExperts]) -> FFNExperts:
    torch.manual_seed(0)
    return kind(E, D, F).double()


def _layer(experts: Experts) -> MoELayer:
    torch.manual_seed(1)
    gate = LinearGate(D, E).double()
    with torch.no_grad():
        gate.weight[list(IDLE)] = -10.0
    return MoELayer(gate=gate, router=TopK(k=2), experts=experts)


def _tokens(rank: int) -> Tensor:
    torch.manual_seed(10 + rank)
    return torch.rand(TOKENS[rank], D, dtype=torch.float64).requires_grad_()


def _loss(y: Tensor, rank: int) -> Tensor:
    torch.manual_seed(20 + rank)
    return (y.square() * torch.randn_like(y)).sum()


def _on_one_rank(kind: type[SwiGLUExperts | TwoMatrixExperts]) -> dict[str, Tensor]:
    rank = distributed.get_rank()
    layer, x = _layer(ParallelExperts.spread(_whole(kind))), _tokens(rank)
    y, _ = layer(x)
    torch.autograd.backward(_loss(y, rank))
    sum_shared_gradients(layer)
    with torch.no_grad():
        inferred, _ = layer(x)
    assert isinstance(layer.experts, ParallelExperts)
    of = {"x": x, "gate": layer.gate.get_parameter("weight"), **dict(layer.experts.local.named_parameters())}
    return {"y": y.detach(), "inferred": inferred, **{name: _gradient(tensor) for name, tensor in of.items()}}


def _gradient(tensor: Tensor) -> Tensor:
    assert tensor.grad is not None
    return tensor.grad


def _in_one_process(experts: FFNExperts, ranks: int) -> list[dict[str, Tensor]]:
    layer, parts = _layer(experts), [_tokens(rank) for rank in range(ranks)]
    made, _ = layer(torch.cat(parts))
    per_rank = made.split(TOKENS[:ranks])
    loss = torch.stack([_loss(y, rank) for rank, y in enumerate(per_rank)]).sum()
    of = dict(experts.named_parameters())
    gate, *others = torch.autograd.grad(loss, [layer.gate.get_parameter("weight"), *parts, *of.values()])
    begins = [E * rank // ranks for rank in range(ranks + 1)]
    return [
        {
            "y": per_rank[rank].detach(),
            "inferred": per_rank[rank].detach(),
            "x": others[rank],
            "gate": gate,
            **{name: all_[begins[rank] : begins[rank + 1]] for name, all_ in zip(of, others[ranks:], strict=True)},
        }
        for rank in range(ranks)
    ]


def _furthest(made: list[dict[str, Tensor]], expected: list[dict[str, Tensor]]) -> float:
    """The largest difference in anything; NaN or a missing part is one as well."""
    assert [part.keys() for part in made] == [part.keys() for part in expected]
    pairs = [(left[name], right[name]) for left, right in zip(made, expected, strict=True) for name in left]
    assert all(left.shape == right.shape and left.isfinite().all() for left, right in pairs)
    return max(float((left - right).abs().max()) for left, right in pairs if left.numel())


def test_two_ranks_equal_one_process_and_notice_a_perturbed_weight(tmp_path: Path) -> None:
    made = on_ranks(2, partial(_on_one_rank, SwiGLUExperts), tmp_path)

    assert _furthest(made, _in_one_process(_whole(SwiGLUExperts), 2)) < 1e-12
    perturbed = _whole(SwiGLUExperts)
    with torch.no_grad():
        perturbed.matrices()[1][3, 2, 1] += 1e-6
    assert _furthest(made, _in_one_process(perturbed, 2)) > 1e-9


@pytest.mark.accept
@pytest.mark.parametrize("kind", [SwiGLUExperts, TwoMatrixExperts])
def test_four_ranks_equal_one_process(tmp_path: Path, kind: type[SwiGLUExperts | TwoMatrixExperts]) -> None:
    """Rank 1 has no token, rank 3's experts get none, and the counts differ everywhere else."""
    made = on_ranks(4, partial(_on_one_rank, kind), tmp_path)

    assert _furthest(made, _in_one_process(_whole(kind), 4)) < 1e-12


def _until_one_is_gone() -> object:
    layer, x = _layer(ParallelExperts.spread(_whole(SwiGLUExperts))), _tokens(0)
    layer(x)
    if distributed.get_rank() == 1:
        os._exit(3)
    return _failure(layer, x)


def _while_one_stays_away() -> object:
    layer, x = _layer(ParallelExperts.spread(_whole(SwiGLUExperts))), _tokens(0)
    if distributed.get_rank() == 1:
        distributed.recv(torch.zeros(1), src=0)
    return _failure(layer, x)


def _failure(layer: MoELayer, x: Tensor) -> object:
    try:
        layer(x)
    except HostFailed as failure:
        return failure.trouble, failure.what
    return None


@pytest.mark.parametrize("work", [_until_one_is_gone, pytest.param(_while_one_stays_away, marks=pytest.mark.accept)])
def test_lost_rank_is_told_to_the_other(tmp_path: Path, work: object) -> None:
    assert callable(work)

    told, nothing = on_ranks(2, work, tmp_path, timeout_s=5.0)

    assert told == (Trouble.UNAVAILABLE, "rank 0 of 2 lost another one, or waited for it in vain")
    assert nothing is None


def _with_too_few_experts() -> str:
    try:
        ParallelExperts.spread(_whole(SwiGLUExperts).part(0, 1))
    except InvalidInput as wrong:
        return str(wrong)
    return ""


@pytest.mark.accept
def test_rank_without_an_expert_is_refused(tmp_path: Path) -> None:
    assert "0 of 1 experts on rank 0 of 2" in on_ranks(2, _with_too_few_experts, tmp_path)[0]
