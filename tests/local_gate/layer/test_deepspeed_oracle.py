"""The routers equal DeepSpeed's gating functions in weights, capacity, auxiliary loss and gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from torch import Tensor

from crew_moe.local_gate.layer import Balance, Capacity, Priority, Routes, Switch, TokenRouter, TopK, Weighting
from crew_moe.local_gate.layer import balance_loss as balance
from tests.local_gate.layer.comparing import furthest, gradients, slope
from tests.local_gate.layer.deepspeed_peer import answers

pytestmark = pytest.mark.accept

T, E = 24, 4
NEAR: Final = 1e-5  # float32
LEAST: Final = 2


def top_k(k: int, factor: float, priority: Priority) -> TopK:
    capacity = Capacity(factor=factor, least=LEAST, priority=priority)
    return TopK(k=k, weighting=Weighting.OVER_CARRIED, capacity=capacity)


def asked(gating: str, factor: float, **more: Any) -> dict[str, Any]:
    return {"gating": gating, "arguments": {"capacity_factor": factor, "min_capacity": LEAST, **more}}


PAIRS: Final[dict[str, tuple[dict[str, Any], TokenRouter, Balance]]] = {
    # With a factor of E nobody is dropped: whom its top-1 keeps is up to a sort that does not keep the tokens' order.
    "top-1": (asked("top1gating", float(E), use_rts=False), Switch(capacity=Capacity(factor=E)), Balance.SWITCH),
    "top-2": (
        asked("top2gating", 0.75, top2_2nd_expert_sampling=False),
        top_k(2, 0.75, Priority.RANK),
        Balance.FIRST_CHOICE,
    ),
    "top-2 with room": (
        asked("top2gating", 2.0, top2_2nd_expert_sampling=False),
        top_k(2, 2.0, Priority.RANK),
        Balance.FIRST_CHOICE,
    ),
    "top-1 by position": (
        asked("topkgating", 0.8, k=1, drop_policy="position"),
        top_k(1, 0.8, Priority.POSITION),
        Balance.SWITCH,
    ),
    "top-3 by position": (
        asked("topkgating", 0.7, k=3, drop_policy="position"),
        top_k(3, 0.7, Priority.POSITION),
        Balance.SWITCH,
    ),
    "top-3 by probability": (
        asked("topkgating", 0.7, k=3, drop_policy="probs"),
        top_k(3, 0.7, Priority.PROBABILITY),
        Balance.SWITCH,
    ),
    "at least": (
        asked("topkgating", 0.1, k=2, drop_policy="position"),
        top_k(2, 0.1, Priority.POSITION),
        Balance.SWITCH,
    ),
}


def given() -> Tensor:
    """Logits that favour the first expert, so that some choices overflow."""
    made = torch.randn(T, E, generator=torch.Generator().manual_seed(5)) + torch.tensor([0.9, 0.2, 0.0, -0.4])
    return made.requires_grad_()


def dense(routes: Routes) -> Tensor:
    """The weights as (T, E)."""
    return torch.zeros_like(routes.probabilities).index_put((routes.token, routes.expert), routes.weight)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    cases = [{**case, "logits": given().tolist()} for case, _, _ in PAIRS.values()]
    folder: Path = tmp_path_factory.mktemp("deepspeed")
    return dict(zip(PAIRS, answers(cases, folder), strict=True))


def _apart(name: str, logits: Tensor, theirs: dict[str, Any]) -> float:
    """The largest difference in weights, loss or either's gradient at the logits."""
    _, router, convention = PAIRS[name]
    routes = router(logits)
    loss, weights = balance(routes, convention), dense(routes)
    ours = [weights, loss, *gradients(loss, [logits]), *gradients(slope(weights), [logits])]
    return furthest(ours, [torch.tensor(theirs[key]) for key in ("weights", "loss", "of_loss", "of_slope")])


@pytest.mark.parametrize("name", PAIRS)
def test_weights_loss_and_gradients_are_deepspeed_s(name: str, theirs: dict[str, dict[str, Any]]) -> None:
    assert _apart(name, given(), theirs[name]) <= NEAR


@pytest.mark.parametrize("name", PAIRS)
def test_perturbed_logits_are_seen(name: str, theirs: dict[str, dict[str, Any]]) -> None:
    perturbed = (given().detach() + 0.1 * torch.eye(T, E)).requires_grad_()

    assert _apart(name, perturbed, theirs[name]) > 10 * NEAR


@pytest.mark.parametrize("name", PAIRS)
def test_capacity_is_deepspeed_s(name: str, theirs: dict[str, dict[str, Any]]) -> None:
    routes = PAIRS[name][1](given())

    assert routes.capacity is not None
    assert routes.capacity.tolist() == [theirs[name]["capacity"]]
    assert (routes.dropped > 0) == (name not in {"top-1", "top-2 with room"})
