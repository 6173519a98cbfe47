"""A replay: bandits learn who is good at what, see only what they chose, and pay regret for finding out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from crew_moe.domain.decision import Candidate, Pick
from crew_moe.errors import InvalidInput
from crew_moe.learning.graded import Graded, read_graded
from crew_moe.learning.offers import bandit_policy
from crew_moe.learning.replay import Replayed, replay
from crew_moe.ports import Strategy, StrategyContext
from crew_moe.strategies.bandits import BANDITS
from tests.learning.graded_rows import graded_file

ROWS = 600


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Graded:
    return read_graded([graded_file(tmp_path_factory.mktemp("graded") / "rows.jsonl", ROWS)])


@dataclass
class Always:
    """The expert at one place of the list, whatever is known."""

    place: int
    seen: list[dict[str, float]] = field(default_factory=list)

    def select(self, context: StrategyContext, candidates: Sequence[Candidate], rng: Random) -> Pick:  # noqa: ARG002
        assert context.insight is not None
        self.seen.append(dict(context.insight.mean))
        return Pick(expert_id=candidates[self.place].expert_id, propensity=1.0)


def told(data: Graded, strategy: Strategy, *, seed: int = 1, **options: Any) -> Replayed:
    options = {"cost_weight": 0.3, "clock": lambda: 0.0, **options}
    return replay(data, strategy, bandit_policy(alpha=1.0), seed=seed, **options)


def rewards(data: Graded, cost_weight: float = 0.3) -> Any:
    return data.quality - cost_weight * data.cost / data.dearest


@pytest.mark.parametrize("name", BANDITS)
def test_a_bandit_beats_the_best_fixed_expert_where_requests_differ(data: Graded, name: str) -> None:
    found = told(data, BANDITS[name], evaluation=data)

    assert found.regret_vs_best_fixed < 0
    assert found.regret_vs_oracle > 0
    assert found.eval_reward_greedy is not None
    assert found.eval_reward_greedy > rewards(data).mean(axis=0).max() + 0.1


@pytest.mark.parametrize("place", range(3))
def test_regret_is_the_sum_over_the_rounds(data: Graded, place: int) -> None:
    found, earned = told(data, Always(place)), rewards(data)

    assert found.mean_reward == pytest.approx(earned[:, place].mean())
    assert found.regret_vs_best_fixed == pytest.approx(earned.sum(axis=0).max() - earned[:, place].sum())
    assert found.regret_vs_oracle == pytest.approx(earned.max(axis=1).sum() - earned[:, place].sum())


def test_the_learner_sees_the_chosen_experts_answers_alone(data: Graded) -> None:
    first, second = Always(0), Always(0)
    told(data, first)
    told(replace(data, quality=np.column_stack([data.quality[:, 0], 1 - data.quality[:, 1:]])), second)

    assert first.seen == second.seen


def test_the_same_seed_tells_the_same_and_another_does_not(data: Graded) -> None:
    one, again, other = (told(data, BANDITS["lints"], seed=seed) for seed in (1, 1, 2))

    assert one == again
    assert one != other


def test_without_a_weight_cost_does_not_count(data: Graded) -> None:
    found = told(data, Always(2), cost_weight=0.0)

    assert found.mean_reward == pytest.approx(data.quality[:, 2].mean())


def test_costs_of_nothing_are_no_trouble(data: Graded) -> None:
    free = replace(data, cost=np.zeros_like(data.cost))

    assert told(free, Always(1), evaluation=free).mean_reward == pytest.approx(data.quality[:, 1].mean())


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_a_weight_that_is_none_is_refused(data: Graded, weight: float) -> None:
    with pytest.raises(InvalidInput, match="--cost-weight"):
        told(data, Always(0), cost_weight=weight)


def test_a_round_is_timed_by_the_clock_that_is_given(data: Graded) -> None:
    ticks = iter(range(10_000))

    assert told(data, Always(0), clock=lambda: float(next(ticks))).us_per_round == 1e6


def test_reading_and_rounds_are_told_one_by_one(tmp_path: Path) -> None:
    steps: list[int] = []
    few = read_graded([graded_file(tmp_path / "few.jsonl", 7)], step=lambda: steps.append(0))
    told(few, Always(0), step=lambda: steps.append(1))

    assert (steps.count(0), steps.count(1)) == (7, 7)
