"""What holds for every router."""

from __future__ import annotations

from typing import Final

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from crew_moe.errors import InvalidInput
from crew_moe.local_gate.layer import (
    Capacity,
    ExpertChoice,
    Overflow,
    Priority,
    Rounding,
    Routes,
    Switch,
    TokenRouter,
    TopK,
    TopP,
    Weighting,
)

ROUTERS: Final[dict[str, TokenRouter]] = {
    "top-k": TopK(k=2),
    "top-k, tight": TopK(k=2, capacity=Capacity(factor=0.6)),
    "top-k, rerouting": TopK(k=2, capacity=Capacity(factor=1.0, overflow=Overflow.REROUTE)),
    "switch": Switch(),
    "top-p": TopP(p=0.7, k=3, capacity=Capacity(factor=0.5)),
    "expert choice": ExpertChoice(factor=2.0),
}
UNLIMITED: Final[dict[str, TokenRouter]] = {
    "top-k": TopK(k=2),
    "switch": Switch(capacity=None),
    "top-p": TopP(p=0.7, k=3),
    "expert choice": ExpertChoice(factor=1.0),
}
SHAPES = st.tuples(st.integers(0, 20), st.integers(1, 6), st.integers(0, 2**31))
few = settings(max_examples=25, deadline=None)


def logits(shape: tuple[int, int, int]) -> Tensor:
    """(T, E) from (T, E, seed); the first experts are favoured."""
    tokens, experts, seed = shape
    made = torch.randn(tokens, experts, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return made - torch.arange(experts)


def places(routes: Routes) -> list[tuple[int, int]]:
    return list(zip(routes.token.tolist(), routes.expert.tolist(), strict=True))


@pytest.mark.parametrize("router", ROUTERS.values(), ids=ROUTERS)
@given(shape=SHAPES)
@few
def test_no_capacity_is_exceeded_and_nothing_is_lost_from_sight(
    router: TokenRouter, shape: tuple[int, int, int]
) -> None:
    routes = router(logits(shape))

    if routes.capacity is not None:
        assert (torch.bincount(routes.expert, minlength=shape[1]) <= routes.capacity).all()
    assert len(set(places(routes))) == len(routes.expert)
    assert len(routes.expert) + routes.dropped == len(routes.choices.expert)
    assert 0 <= routes.dropped <= max(routes.overflowed, 0)
    assert int(routes.unserved().sum()) == shape[0] - len(set(routes.token.tolist()))


@given(shape=SHAPES, priority=st.sampled_from(Priority))
@few
def test_what_is_kept_and_what_is_dropped_is_what_was_wanted(shape: tuple[int, int, int], priority: Priority) -> None:
    whole = places(TopK(k=2)(logits(shape)))

    routes = TopK(k=2, capacity=Capacity(factor=0.5, priority=priority))(logits(shape))

    assert set(places(routes)) <= set(whole)
    assert len(places(routes)) + routes.dropped == len(whole) == shape[0] * min(2, shape[1])


@pytest.mark.parametrize("weighting", [Weighting.OVER_CHOSEN, Weighting.OVER_CARRIED])
@given(shape=SHAPES)
@few
def test_weights_over_the_chosen_sum_to_one(weighting: Weighting, shape: tuple[int, int, int]) -> None:
    routes = TopK(k=3, weighting=weighting)(logits(shape))

    sums = torch.zeros(shape[0], dtype=torch.float64).index_add(0, routes.token, routes.weight)

    torch.testing.assert_close(sums, torch.ones_like(sums))


@given(shape=SHAPES)
@few
def test_weights_over_the_carried_sum_to_one_or_the_token_has_none(shape: tuple[int, int, int]) -> None:
    routes = TopK(k=2, weighting=Weighting.OVER_CARRIED, capacity=Capacity(factor=0.7))(logits(shape))

    sums = torch.zeros(shape[0], dtype=torch.float64).index_add(0, routes.token, routes.weight)

    torch.testing.assert_close(sums, (~routes.unserved()).double())


def test_what_is_left_of_a_token_may_weigh_nothing() -> None:
    sure = torch.tensor([[400.0, 200.0, 0.0], [400.0, 0.0, 200.0]])  # second choices have probability 0 in float32

    routes = TopK(k=2, weighting=Weighting.OVER_CARRIED, capacity=Capacity(fixed=1))(sure)

    assert places(routes) == [(0, 0), (0, 1), (1, 2)]
    assert routes.weight.tolist() == [1, 0, 0]


@pytest.mark.parametrize("router", UNLIMITED.values(), ids=UNLIMITED)
@given(shape=SHAPES)
@few
def test_tokens_in_another_order_are_routed_alike(router: TokenRouter, shape: tuple[int, int, int]) -> None:
    before = logits(shape)
    order = torch.randperm(shape[0], generator=torch.Generator().manual_seed(shape[2]))

    moved = router(before[order])

    back = {(int(order[token]), expert) for token, expert in places(moved)}
    assert back == set(places(router(before)))


@given(shape=SHAPES, priority=st.sampled_from(Priority))
@few
def test_rerouting_keeps_every_token_while_there_is_room(shape: tuple[int, int, int], priority: Priority) -> None:
    capacity = Capacity(factor=1.0, overflow=Overflow.REROUTE, priority=priority)

    routes = Switch(capacity=capacity)(logits(shape))

    assert routes.dropped == 0
    assert not routes.unserved().any()


@given(shape=SHAPES)
@few
def test_rerouting_goes_where_nobody_was_dropped_before(shape: tuple[int, int, int]) -> None:
    """Who finds room at once stays, and nobody moves to an expert that had turned somebody away."""
    dropping = TopK(k=2, capacity=Capacity(factor=0.6))(logits(shape))
    moving = TopK(k=2, capacity=Capacity(factor=0.6, overflow=Overflow.REROUTE))(logits(shape))

    wanted, kept = (torch.bincount(each, minlength=shape[1]) for each in (dropping.choices.expert, dropping.expert))
    moved = set(places(moving)) - set(places(dropping))
    assert set(places(dropping)) <= set(places(moving))
    assert not any(wanted[expert] > kept[expert] for _, expert in moved)


def test_rerouting_never_takes_an_expert_that_is_closed() -> None:
    closed = torch.tensor([3.0, 0.0, -torch.inf]).expand(6, 3)

    routes = Switch(capacity=Capacity(factor=1.0, overflow=Overflow.REROUTE))(closed)

    assert sorted(routes.expert.tolist()) == [0, 0, 1, 1]
    assert routes.dropped == 2


@given(shape=SHAPES, p=st.floats(0.05, 1.0))
@few
def test_top_p_takes_the_fewest_that_suffice(shape: tuple[int, int, int], p: float) -> None:
    odds = logits(shape).softmax(dim=-1)

    routes = TopP(p=p, k=shape[1])(logits(shape))

    for token in range(shape[0]):
        taken = sorted(odds[token, routes.expert[routes.token == token]].tolist())
        assert sum(taken[1:]) < p <= sum(taken) + 1e-9 or len(taken) == shape[1]


@given(shape=SHAPES, factor=st.floats(0.1, 4.0))
@few
def test_expert_choice_gives_every_expert_its_best_tokens(shape: tuple[int, int, int], factor: float) -> None:
    odds = logits(shape).softmax(dim=-1)

    routes = ExpertChoice(factor=factor)(logits(shape))

    assert routes.capacity is not None
    for expert in range(shape[1]):
        best = odds[:, expert].sort(descending=True).values[: int(routes.capacity)]
        assert sorted(routes.weight[routes.expert == expert].tolist(), reverse=True) == best.tolist()


@pytest.mark.parametrize("router", ROUTERS.values(), ids=ROUTERS)
def test_a_call_may_ask_for_fewer_experts(router: TokenRouter) -> None:
    given_logits = logits((12, 4, 1))

    least = router(given_logits, k=1)

    assert len(least.expert) <= 12
    assert len(router(given_logits, k=9).expert) == len(router(given_logits).expert)


@pytest.mark.parametrize("router", ROUTERS.values(), ids=ROUTERS)
def test_noise_decides_who_is_chosen_not_the_weight(router: TokenRouter) -> None:
    clean, noisy = logits((12, 4, 2)), logits((12, 4, 3))

    routes = router(clean, selection=noisy)

    assert set(places(routes)) == set(places(router(noisy)))
    assert torch.equal(routes.probabilities, clean.softmax(dim=-1))


def test_each_sequence_has_a_capacity_of_its_own_without_its_padding() -> None:
    live = torch.tensor([True] * 8 + [True] * 4 + [False] * 4)
    router = Switch(capacity=Capacity(factor=1.0, per_sequence=True))

    routes = router(torch.zeros(16, 2) + torch.tensor([1.0, 0.0]), live=live, sequences=2)

    assert routes.capacity is not None
    assert routes.capacity.tolist() == [4, 2]
    assert routes.token.tolist() == [0, 1, 2, 3, 8, 9]
    assert routes.dropped == 6


@pytest.mark.parametrize(
    ("capacity", "k", "room"),
    [
        (Capacity(factor=1.1), 1, 11),  # in floating point 1.1 x 10 is more than 11
        (Capacity(factor=1.15), 1, 12),
        (Capacity(factor=1.15, rounding=Rounding.FLOOR), 1, 11),
        (Capacity(factor=1.0), 2, 20),
        (Capacity(factor=0.01, least=4), 1, 4),
        (Capacity(fixed=7, least=9), 1, 7),
    ],
)
def test_room_of_an_expert(capacity: Capacity, k: int, room: int) -> None:
    assert capacity.of(torch.tensor([40]), experts=4, k=k).tolist() == [room]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Capacity(factor=0.0),
        lambda: Capacity(factor=float("nan")),
        lambda: Capacity(least=-1),
        lambda: Capacity(fixed=-2),
        lambda: TopP(p=0.0),
        lambda: TopK(k=0)(torch.zeros(1, 2)),
    ],
)
def test_senseless_numbers_are_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(InvalidInput, match="above"):
        make()
