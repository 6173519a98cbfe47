"""A price keeps spending inside a horizon's budget, and earns as much as the best mix of experts would."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.learning.knapsack import Pacing
from crew_moe.learning.offers import knowing, offer
from crew_moe.strategies.bandits import LinUCB
from tests.routing.given import STEADY

COSTS = {"cheap": 0.001, "fair": 0.004, "dear": 0.02}
REQUESTS = 2_000
BUDGET = 12.0  # 0.006 a request: always `fair` leaves a third of it, always `dear` would need 40


def rewards(seed: int) -> list[dict[str, float]]:
    """What each expert would earn, request by request: a dear one is worth its money on some requests."""
    hard = np.random.default_rng(seed).uniform(0.0, 1.0, REQUESTS)
    return [{"cheap": 0.6 * (1 - h), "fair": 0.8 - 0.5 * h, "dear": 0.85 - 0.1 * h} for h in hard.tolist()]


def paced(rounds: list[dict[str, float]], pacing: Pacing) -> tuple[float, float]:
    """(reward, spent) of choosing by reward less price, until there is no room for anybody."""
    earned = spent = 0.0
    for number, known in enumerate(rounds):
        if pacing.room_usd < min(COSTS.values()):
            break
        slate = [offer(one, cost_usd=cost) for one, cost in COSTS.items()]
        known_well = dict.fromkeys(known, 0.0)
        context = knowing(mean=known, width=known_well, price=pacing.price, room_usd=pacing.room_usd)
        chosen = LinUCB().select(context, slate, Random(number)).expert_id
        earned, spent = earned + known[chosen], spent + COSTS[chosen]
        pacing = pacing.charged(COSTS[chosen])
    return earned, spent


def best_fixed_mix(rounds: list[dict[str, float]], usd: float) -> float:
    """The most that a lottery over the experts, the same for every request, earns within the budget."""
    means = {one: sum(known[one] for known in rounds) for one in COSTS}
    due = usd / REQUESTS
    best = max(means[one] for one, cost in COSTS.items() if cost <= due)
    for low in COSTS:
        for high in COSTS:
            if COSTS[low] < due < COSTS[high]:
                share = (due - COSTS[low]) / (COSTS[high] - COSTS[low])
                best = max(best, (1 - share) * means[low] + share * means[high])
    return best


@pytest.mark.parametrize("seed", range(3))
def test_spending_stays_inside_and_earns_more_than_the_best_fixed_mix(seed: int) -> None:
    rounds = rewards(seed)
    earned, spent = paced(rounds, Pacing(usd=BUDGET, requests=REQUESTS))

    assert 0.95 * BUDGET <= spent <= BUDGET
    assert earned > best_fixed_mix(rounds, BUDGET) + 20


def test_money_to_spare_costs_nothing() -> None:
    pacing = Pacing(usd=100.0, requests=REQUESTS)
    for _ in range(500):
        pacing = pacing.charged(0.02)

    assert pacing.price == 0.0


def test_without_room_only_cost_counts() -> None:
    pacing = Pacing(usd=1.0, requests=10).charged(2.0)
    known = knowing(mean={"cheap": 0.0, "dear": 1.0}, width={"cheap": 0.0, "dear": 1.0}, price=pacing.price)

    assert pacing.room_usd == 0.0
    assert (
        LinUCB().select(known, [offer("cheap", cost_usd=0.001), offer("dear", cost_usd=0.02)], Random(1)).expert_id
        == "cheap"
    )


def test_a_horizon_that_ends_opens_the_next_with_the_price_that_was_learned() -> None:
    pacing = Pacing(usd=1.0, requests=3)
    for _ in range(3):
        pacing = pacing.charged(1.0)

    assert (pacing.served, pacing.spent_usd) == (0, 0.0)
    assert pacing.price > 0.0


def test_a_bill_that_turns_out_higher_leaves_less_room() -> None:
    assert Pacing(usd=1.0, requests=3).charged(0.2).corrected(0.3).room_usd == pytest.approx(0.5)


def test_what_was_kept_goes_on_and_another_horizon_begins_anew() -> None:
    pacing = Pacing(usd=1.0, requests=3).charged(0.5)

    assert Pacing.of(pacing.as_dict(), usd=1.0, requests=3) == pacing
    assert Pacing.of(pacing.as_dict(), usd=2.0, requests=3) == Pacing(usd=2.0, requests=3)
    assert Pacing.of(None, usd=2.0, requests=3) == Pacing(usd=2.0, requests=3)


@STEADY
@given(bills=st.lists(st.floats(0, 5), max_size=60), requests=st.integers(1, 40))
def test_a_price_is_never_negative_and_always_a_number(bills: list[float], requests: int) -> None:
    pacing = Pacing(usd=1.0, requests=requests)
    for bill in bills:
        pacing = pacing.charged(bill)
        assert 0.0 <= pacing.price < np.inf
        assert 0 <= pacing.served < requests
