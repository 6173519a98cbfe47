"""What every strategy of the table promises, and one more that stands in for those to come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from types import MappingProxyType

import pytest

from crew_moe.domain.decision import Candidate, Pick
from crew_moe.domain.request import RoutingRequest
from crew_moe.ports import Strategy, StrategyContext
from crew_moe.routing import choice, engine
from crew_moe.routing.features import extract
from crew_moe.strategies import STRATEGIES
from tests.routing.given import NOW, POLICY, board, decided, expert, market


@dataclass(frozen=True, slots=True)
class PowerOfTwo:
    """Sample two experts, keep the better one (Mitzenmacher 2001)."""

    def select(self, context: StrategyContext, candidates: Sequence[Candidate], rng: Random) -> Pick:  # noqa: ARG002
        ranked = sorted(candidates, key=lambda candidate: (-candidate.score, candidate.expert_id))
        count = len(ranked)
        if count == 1:
            return Pick(expert_id=ranked[0].expert_id, propensity=1.0)
        place = min(rng.sample(range(count), 2))
        propensity = 2 * (count - 1 - place) / (count * (count - 1))
        return Pick(expert_id=ranked[place].expert_id, propensity=propensity)


TABLE: Mapping[str, Strategy] = MappingProxyType({**STRATEGIES, "power_of_two": PowerOfTwo()})
CONTEXT = StrategyContext(features=extract(RoutingRequest(task_type="planning")), policy=POLICY, now=NOW)
EXPERTS = tuple(expert(name, quality=0.5 + number / 10) for number, name in enumerate("abcd"))
every_strategy = pytest.mark.parametrize("name", TABLE)


def candidates(count: int = 4) -> Sequence[Candidate]:
    return decided(board(registry=market(*EXPERTS[:count]))).candidates


@every_strategy
def test_a_strategy_is_one(name: str) -> None:
    assert isinstance(TABLE[name], Strategy)
    assert TABLE[name].__doc__


@every_strategy
def test_only_eligible_experts_are_picked(name: str) -> None:
    few = candidates()[1:3]
    picks = {TABLE[name].select(CONTEXT, few, Random(seed)).expert_id for seed in range(50)}

    assert picks <= {"b", "c"}


@every_strategy
def test_the_same_seed_gives_the_same_pick(name: str) -> None:
    for seed in range(20):
        first, second = (TABLE[name].select(CONTEXT, candidates(), Random(seed)) for _ in range(2))
        assert first == second


@every_strategy
def test_propensity_is_the_frequency(name: str) -> None:
    slate = list(candidates())
    picks = [TABLE[name].select(CONTEXT, slate, Random(seed)) for seed in range(4000)]

    logged = {pick.expert_id: pick.propensity for pick in picks}
    seen = {expert_id: count / len(picks) for expert_id, count in Counter(pick.expert_id for pick in picks).items()}
    assert seen == pytest.approx(logged, abs=0.03)


@every_strategy
def test_a_single_candidate_is_certain(name: str) -> None:
    pick = TABLE[name].select(CONTEXT, candidates(1), Random(1))

    assert (pick.expert_id, pick.propensity) == ("a", 1.0)


@every_strategy
def test_candidates_are_left_as_they_were(name: str) -> None:
    slate = list(candidates())
    before = list(slate)
    TABLE[name].select(CONTEXT, slate, Random(1))

    assert slate == before


@pytest.fixture
def one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table with one line more."""
    for module in (choice, engine):
        monkeypatch.setattr(module, "STRATEGIES", TABLE)


@pytest.mark.usefixtures("one_more")
def test_one_line_in_the_table_registers_a_strategy() -> None:
    on = board(registry=market(*EXPERTS))
    picks = [decided(on, strategy="power_of_two", seed=seed) for seed in range(40)]

    assert {pick.strategy for pick in picks} == {"power_of_two"}
    assert {pick.expert_id: round(pick.propensity, 3) for pick in picks} == {"d": 0.5, "c": 0.333, "b": 0.167}
