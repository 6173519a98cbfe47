"""The grouped computation equals one expert on one token after the other, whatever the routes look like."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from copy import deepcopy

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from crew_moe.errors import InvalidInput
from crew_moe.local_gate.layer import FFNExperts, SwiGLUExperts, TwoMatrixExperts
from crew_moe.local_gate.layer import grouping as grouping_module
from crew_moe.local_gate.layer.experts import FEW
from crew_moe.local_gate.layer.few import few

E, D, F = 5, 6, 7
KINDS = [
    pytest.param(lambda: TwoMatrixExperts(E, D, F), id="relu"),
    pytest.param(lambda: TwoMatrixExperts(E, D, F, "gelu"), id="gelu"),
    pytest.param(lambda: TwoMatrixExperts(E, D, F, "silu"), id="silu"),
    pytest.param(lambda: SwiGLUExperts(E, D, F), id="swiglu"),
    pytest.param(lambda: SwiGLUExperts(E, D, F, "gelu"), id="geglu"),
    pytest.param(lambda: SwiGLUExperts(E, D, F, "relu"), id="reglu"),
]
ROUTES = {
    "balanced": ([0, 1, 2, 3, 4] * 8, [token for token in range(20) for _ in range(2)], 20),
    "all to one expert": ([3] * 40, list(range(40)), 40),
    "most to one expert": ([1] * 36 + [0, 2, 3, 4], list(range(40)), 40),
    "empty experts at both ends": ([2, 2, 1, 3], [0, 1, 2, 3], 30),
    "tokens without an expert": ([4, 0], [17, 3], 20),
    "one token twice with one expert": ([1, 1, 1], [5, 5, 2], 18),
    "tokens in no order": ([4, 0, 3, 0], [9, 2, 2, 19], 20),
    "nothing assigned": ([], [], 20),
    "no token": ([], [], 0),
    "one token": ([2, 4], [0, 0], 1),
}


@pytest.fixture(autouse=True)
def few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pieces of 16 rows, so that an expert with more of them gets several; one thread: they are tiny."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(grouping_module, "ROWS", 16)
    yield
    torch.set_num_threads(threads)


def _one_by_one(x: Tensor, expert: Tensor, token: Tensor, weight: Tensor, experts: FFNExperts) -> Tensor:
    rows: list[list[Tensor]] = [[] for _ in range(len(x))]
    for number, at, share in zip(expert.tolist(), token.tolist(), weight, strict=True):
        rows[at].append(share * experts.one(x[at : at + 1], number)[0])
    return torch.stack([torch.stack(made).sum(0) if made else x[0] * 0 for made in rows]) if len(x) else x * 0


def _material(expert: list[int], token: list[int], tokens: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x = torch.randn(tokens, D, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(len(expert), dtype=torch.float64, requires_grad=True)
    return x, torch.tensor(expert, dtype=torch.int64), torch.tensor(token, dtype=torch.int64), weight


def _gradients(y: Tensor, wanted: list[Tensor]) -> tuple[Tensor, ...]:
    direction = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    return torch.autograd.grad(y, wanted, direction, allow_unused=True, materialize_grads=True)


def _equal_one_by_one(experts: FFNExperts, expert: list[int], token: list[int], tokens: int) -> None:
    given = _material(expert, token, tokens)
    wanted = [given[0], given[3], *experts.parameters()]

    y = experts.weighted_sum(*given)
    expected = _one_by_one(*given, experts)
    with torch.no_grad():
        inferred = experts.weighted_sum(*given)

    ours, theirs = _gradients(y, wanted), _gradients(expected, wanted)
    for left, right in zip((y, inferred, *ours), (expected, expected, *theirs), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=1e-10)


@pytest.mark.parametrize("routes", ROUTES)
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_equal_one_token_after_the_other(kind: Callable[[], FFNExperts], routes: str) -> None:
    torch.manual_seed(0)
    _equal_one_by_one(kind().double(), *ROUTES[routes])


@settings(max_examples=40, deadline=None)
@drawn(data=st.data(), tokens=st.integers(1, 50))
def test_any_routes_equal_one_token_after_the_other(data: st.DataObject, tokens: int) -> None:
    torch.manual_seed(tokens)
    pairs = data.draw(st.lists(st.tuples(st.integers(0, E - 1), st.integers(0, tokens - 1)), max_size=80))

    experts = SwiGLUExperts(E, D, F).double()

    _equal_one_by_one(experts, [expert for expert, _ in pairs], [token for _, token in pairs], tokens)


def test_perturbed_weight_is_noticed() -> None:
    torch.manual_seed(0)
    experts = SwiGLUExperts(E, D, F).double()
    given = _material(*ROUTES["balanced"])
    expected = _one_by_one(*given, experts)

    with torch.no_grad():
        experts.down[3, 2, 1] += 1e-6

    assert (experts.weighted_sum(*given) - expected).abs().max() > 1e-8


@pytest.mark.parametrize("tokens", [1, 7, FEW])
def test_few_tokens_equal_many(tokens: int) -> None:
    torch.manual_seed(tokens)
    experts = TwoMatrixExperts(E, D, F).double()
    given = _material([n % 3 for n in range(2 * tokens)], [n // 2 for n in range(2 * tokens)], tokens)

    with torch.no_grad():
        made = few(*given, experts)

    torch.testing.assert_close(made, experts.weighted_sum(*given).detach(), rtol=0, atol=1e-12)


def test_few_tokens_read_the_active_experts_alone() -> None:
    experts = TwoMatrixExperts(E, D, F).double()
    given = _material([0, 4], [0, 1], 2)

    with torch.no_grad():
        experts.w_in[1:4] = torch.nan
        made = experts.weighted_sum(*given)

    assert made.isfinite().all()


@pytest.mark.parametrize("tokens", [8, 40])
def test_token_that_is_not_a_number_spoils_no_other(tokens: int) -> None:
    experts = SwiGLUExperts(E, D, F).double()
    given = _material([n % E for n in range(2 * tokens)], [n // 2 for n in range(2 * tokens)], tokens)

    with torch.no_grad():
        given[0][3] = torch.nan
        made = experts.weighted_sum(*given)

    assert made.isfinite().all(dim=1).tolist() == [token != 3 for token in range(tokens)]


def test_tokens_need_not_lie_in_a_row() -> None:
    torch.manual_seed(0)
    experts = SwiGLUExperts(E, D, F).double()
    x, expert, token, weight = _material(*ROUTES["balanced"])
    spread = x.detach().t().contiguous().t().requires_grad_()

    y, expected = (experts.weighted_sum(tokens, expert, token, weight) for tokens in (spread, x))
    ones = torch.ones((), dtype=y.dtype).expand_as(y)

    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        *torch.autograd.grad(y, spread, ones), *torch.autograd.grad(expected, x, ones), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("tokens", [4, 20])
def test_bfloat16_keeps_its_dtype_and_comes_near(tokens: int) -> None:
    torch.manual_seed(0)
    experts = SwiGLUExperts(E, D, F)
    x, expert, token, weight = _material([1, 2] * tokens, [n // 2 for n in range(2 * tokens)], tokens)
    x, weight = x.detach().bfloat16().requires_grad_(), weight.detach().float().requires_grad_()

    halved = SwiGLUExperts(E, D, F).bfloat16()
    halved.load_state_dict(experts.state_dict())
    y = halved.weighted_sum(x, expert, token, weight)
    gradients = torch.autograd.grad(y.float().sum(), [x, weight, halved.gate_up])
    expected = experts.weighted_sum(x.detach().float(), expert, token, weight)

    assert [y.dtype, *(made.dtype for made in gradients)] == [x.dtype, x.dtype, weight.dtype, x.dtype]
    torch.testing.assert_close(y.float(), expected, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("tokens", [4, 20])
def test_autocast_leaves_the_experts_in_their_own_dtype(tokens: int) -> None:
    experts = SwiGLUExperts(E, D, F)
    x, expert, token, weight = _material([1, 2] * tokens, [n // 2 for n in range(2 * tokens)], tokens)
    x, weight = x.detach().float(), weight.detach().float()
    expected = experts.weighted_sum(x, expert, token, weight)

    with torch.autocast("cpu", torch.bfloat16):
        (of_down,) = torch.autograd.grad(experts.weighted_sum(x, expert, token, weight).sum(), [experts.down])
        with torch.no_grad():
            made = experts.weighted_sum(x, expert, token, weight)

    torch.testing.assert_close(made, expected.detach(), rtol=1e-5, atol=1e-6)
    assert of_down.dtype == torch.float32


def test_frozen_experts_cost_no_gradients_and_the_rest_stays_right() -> None:
    torch.manual_seed(0)
    experts = SwiGLUExperts(E, D, F).double()
    given = _material(*ROUTES["balanced"])
    wanted = [given[0], given[3]]
    expected = _gradients(experts.weighted_sum(*given), wanted)

    experts.requires_grad_(False)

    for ours, theirs in zip(_gradients(experts.weighted_sum(*given), wanted), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_experts_can_be_copied_and_pickled(kind: Callable[[], FFNExperts]) -> None:
    experts = kind().double()
    given = _material(*ROUTES["balanced"])

    for again in (deepcopy(experts), pickle.loads(pickle.dumps(experts))):  # noqa: S301 - made a moment ago
        assert torch.equal(again.weighted_sum(*given), experts.weighted_sum(*given))


def test_gradient_of_a_gradient_is_refused() -> None:
    given = _material(*ROUTES["balanced"])
    y = TwoMatrixExperts(E, D, F).double().weighted_sum(*given)

    with pytest.raises(InvalidInput, match="gradient of a gradient"):
        torch.autograd.grad(y.sum(), given[0], create_graph=True)
