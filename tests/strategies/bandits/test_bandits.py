"""The four bandits: how they prefer, what they never leave, and that what they log is how often they do it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.policy import BaselineShare
from crew_moe.learning.offers import knowing, offer
from crew_moe.strategies.bandits import BANDITS, EpsilonGreedy, LinThompson, LinUCB, SquareCB
from crew_moe.strategies.bandits.linthompson import SUPPLY, WITHIN, normals
from tests.routing.given import STEADY, board, decided

NAMES = tuple("abcd")
MEAN = {"a": 0.5, "b": 0.7, "c": 0.65, "d": 0.1}
WIDTH = {"a": 0.9, "b": 0.1, "c": 0.2, "d": 0.1}
OFFERS = [offer(name) for name in NAMES]
every_bandit = pytest.mark.parametrize("name", BANDITS)
Chances = Mapping[str, float]


def chances(name: str, *, seed: int = 1, **known: Any) -> Chances:
    context = knowing(**{"mean": MEAN, "width": WIDTH, **known})
    bandit: Any = BANDITS[name]
    return dict(zip(NAMES, bandit.chances(context, OFFERS, Random(seed)), strict=True))


@every_bandit
def test_chances_are_a_distribution(name: str) -> None:
    shares = chances(name).values()

    assert sum(shares) == pytest.approx(1.0)
    assert min(shares) >= 0.0


@every_bandit
def test_the_logged_propensity_is_the_frequency_of_the_pick_given_the_draws(name: str) -> None:
    bandit: Any = BANDITS[name]
    context = knowing(mean=MEAN, width=WIDTH, alpha=0.5, epsilon=0.3, gamma=5.0, draws=32)

    class Seeded(Random):
        """Draws the same normal numbers each time; only the pick itself is left to chance."""

        def randrange(self, *_: Any) -> int:
            return 17

    picks = [bandit.select(context, OFFERS, Seeded(seed)) for seed in range(6_000)]
    logged = {pick.expert_id: pick.propensity for pick in picks}
    seen = {expert_id: count / len(picks) for expert_id, count in Counter(pick.expert_id for pick in picks).items()}
    assert seen == pytest.approx(logged, abs=0.02)
    assert sum(logged.values()) == pytest.approx(1.0)


@every_bandit
def test_nothing_outside_the_candidates_is_ever_picked(name: str) -> None:
    context = knowing(mean={"z": 9.0, **MEAN}, width=WIDTH)
    few = [OFFERS[0], OFFERS[3]]

    assert {BANDITS[name].select(context, few, Random(seed)).expert_id for seed in range(60)} <= {"a", "d"}


@every_bandit
def test_a_wanted_tier_comes_first(name: str) -> None:
    context = knowing(mean=MEAN, width=WIDTH, epsilon=1.0, gamma=0.0)
    ranked = [replace(one, ranking=-1000.0 * (one.expert_id in "bc")) for one in OFFERS]

    assert {BANDITS[name].select(context, ranked, Random(seed)).expert_id for seed in range(60)} <= {"a", "d"}


@every_bandit
def test_a_price_makes_dear_experts_rare(name: str) -> None:
    bandit: Any = BANDITS[name]
    slate = [offer("b", cost_usd=0.02), offer("c", cost_usd=0.001)]
    free, dear = (
        bandit.chances(knowing(mean=MEAN, width={"b": 0.1, "c": 0.1}, price=price), slate, Random(1))[0]
        for price in (0.0, 50.0)
    )

    assert free > 0.5 > dear


@every_bandit
def test_nobody_dearer_than_the_room_is_picked_while_somebody_fits(name: str) -> None:
    bandit: Any = BANDITS[name]
    slate = [offer("a", cost_usd=0.03), offer("b", cost_usd=0.02), offer("c", cost_usd=0.01)]
    baseline = BaselineShare(expert_id="a", share=0.5)
    tight, empty = (
        bandit.chances(knowing(mean=MEAN, room_usd=room, baseline=baseline), slate, Random(1)) for room in (0.02, 0.001)
    )

    assert (tight[0], sum(tight[1:])) == pytest.approx((0.0, 1.0))
    assert empty == pytest.approx([0.0, 0.0, 1.0])


@every_bandit
@pytest.mark.parametrize("share", [0.2, 1.0])
def test_a_baseline_keeps_its_share_and_the_log_says_so(name: str, share: float) -> None:
    with_share = chances(name, baseline=BaselineShare(expert_id="d", share=share))
    without = chances(name)

    assert with_share["d"] == pytest.approx(max(share, without["d"]))
    assert sum(with_share.values()) == pytest.approx(1.0)
    left = (1 - with_share["d"]) / (1 - without["d"])
    assert with_share["b"] == pytest.approx(without["b"] * left)


@every_bandit
def test_a_baseline_that_has_more_than_its_share_keeps_that(name: str) -> None:
    without = chances(name, alpha=0.0)

    assert without["b"] > 0.3
    assert chances(name, alpha=0.0, baseline=BaselineShare(expert_id="b", share=0.3)) == without


@every_bandit
def test_a_baseline_that_is_no_candidate_changes_nothing(name: str) -> None:
    assert chances(name, baseline=BaselineShare(expert_id="z", share=0.5)) == chances(name)


@every_bandit
def test_of_whom_nothing_is_predicted_the_catalogue_speaks(name: str) -> None:
    bandit: Any = BANDITS[name]
    slate = [offer("known", quality=0.0), offer("new", quality=0.9)]
    shares = bandit.chances(knowing(mean={"known": 0.5}, width={"known": 0.01}), slate, Random(1))

    assert shares[1] > shares[0]


def test_linucb_hopes_as_far_as_alpha_says() -> None:
    assert chances("linucb", alpha=0.0)["b"] == 1.0
    assert chances("linucb", alpha=1.0)["a"] == 1.0


def test_thompson_takes_each_as_often_as_it_is_likely_to_be_best() -> None:
    shares = LinThompson().chances(knowing(mean=MEAN, width=WIDTH, alpha=WITHIN, draws=40_000), OFFERS, Random(3))
    normal = np.random.default_rng(5).standard_normal((200_000, 4))
    best = (normal * [WIDTH[name] for name in NAMES] + [MEAN[name] for name in NAMES]).argmax(axis=1)

    assert shares == pytest.approx((np.bincount(best, minlength=4) / 200_000).tolist(), abs=0.01)


def test_the_draws_of_thompson_are_normal_numbers() -> None:
    drawn = normals(128, 27, Random(1))

    assert (drawn != normals(128, 27, Random(2))).any()
    assert float(drawn.mean()) == pytest.approx(0.0, abs=0.05)
    assert float(drawn.std()) == pytest.approx(1.0, abs=0.03)
    assert normals(SUPPLY, 2, Random(1)).shape == (SUPPLY, 2)


def test_epsilon_greedy_gives_everyone_a_part_of_epsilon() -> None:
    assert chances("epsilon_greedy", epsilon=0.2) == pytest.approx({"a": 0.05, "b": 0.85, "c": 0.05, "d": 0.05})


def test_squarecb_gives_less_the_further_behind() -> None:
    shares = chances("squarecb", gamma=20.0)

    assert shares == pytest.approx({"a": 1 / 8, "b": 1 - 1 / 8 - 1 / 5 - 1 / 16, "c": 1 / 5, "d": 1 / 16})


@STEADY
@given(
    mean=st.lists(st.floats(-5, 5), min_size=1, max_size=30),
    width=st.floats(0, 10),
    gamma=st.floats(0, 1e6),
    alpha=st.floats(0, 10),
    seed=st.integers(0, 2**32),
)
def test_whatever_is_predicted_one_candidate_is_drawn_with_its_own_chance(
    mean: list[float], width: float, gamma: float, alpha: float, seed: int
) -> None:
    slate = [offer(str(number)) for number in range(len(mean))]
    names = [one.expert_id for one in slate]
    context = knowing(
        mean=dict(zip(names, mean, strict=True)), width=dict.fromkeys(names, width), gamma=gamma, alpha=alpha, draws=16
    )
    for bandit in (LinUCB(), LinThompson(), EpsilonGreedy(), SquareCB()):
        shares = bandit.chances(context, slate, Random(seed))
        pick = bandit.select(context, slate, Random(seed))
        assert sum(shares) == pytest.approx(1.0)
        assert pick.propensity == shares[names.index(pick.expert_id)] > 0.0


@every_bandit
def test_the_engine_decides_by_a_bandit(name: str) -> None:
    found = decided(board(), strategy=name)

    assert found.strategy == name
    assert 0.0 < found.propensity <= 1.0
