"""Regret against one expert for everything and against the oracle: estimated, and known."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from crew_moe.learning.episodes import Episode
from crew_moe.learning.ope import Rounds
from crew_moe.learning.regret import EstimatedRegret, Floats, Gap, KnownRegret, estimated_regret, gap, known_regret
from crew_moe.learning.truth import Grade
from crew_moe.learning.untold import Untold, Why

EXPERTS = ("a", "b", "c")
TRUE = np.array([0.2, 0.5, 0.8])
AT = datetime(2026, 3, 1, tzinfo=UTC)


def drawn(logging: Floats, *, seed: int = 0) -> Rounds:
    """Rounds drawn from these chances, (rounds, experts), with rewards about TRUE."""
    rng = np.random.default_rng(seed)
    action = np.array([rng.choice(3, p=row) for row in logging])
    reward = np.clip(TRUE[action] + rng.normal(0, 0.1, len(action)), 0, 1)
    propensity = logging[np.arange(len(action)), action]
    return Rounds(action=action, reward=reward, propensity=propensity, arms=3, logging=logging)


def everybody(rounds: Rounds) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    return np.ones((len(rounds), 3), dtype=bool)


def test_best_expert_and_what_it_would_have_gained_are_estimated() -> None:
    rounds = drawn(np.tile([0.6, 0.2, 0.2], (600, 1)))

    found = estimated_regret(rounds, EXPERTS, everybody(rounds))

    assert isinstance(found, EstimatedRegret)
    assert [one.expert_id for one in found.standings] == ["c", "b", "a"]
    true_gain = 0.8 - (0.6 * 0.2 + 0.2 * 0.5 + 0.2 * 0.8)
    assert found.best.gain.low is not None
    assert found.best.gain.high is not None
    assert found.best.gain.low < true_gain < found.best.gain.high
    assert found.best.gain.mean == pytest.approx(true_gain, abs=0.05)


def test_log_without_exploration_says_nothing_of_the_others() -> None:
    rounds = drawn(np.tile([1.0, 0.0, 0.0], (200, 1)))

    found = estimated_regret(rounds, EXPERTS, everybody(rounds))

    assert isinstance(found, EstimatedRegret)
    assert [(one.expert_id, one.gain.mean) for one in found.standings] == [("a", 0.0)]
    assert [name for name, _ in found.unsaid] == ["b", "c"]


def test_log_that_speaks_of_nobody_alone_has_no_regret() -> None:
    each = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    rounds = drawn(np.tile(each, (50, 1)))

    found = estimated_regret(rounds, EXPERTS, everybody(rounds))

    assert isinstance(found, Untold)
    assert found.why is Why.NO_OVERLAP


def test_expert_that_was_not_eligible_is_not_asked_there() -> None:
    logging = np.tile([0.5, 0.5, 0.0], (400, 1))
    logging[:200] = [0.0, 0.5, 0.5]
    rounds = drawn(logging)

    found = estimated_regret(rounds, EXPERTS, logging > 0.0)

    assert isinstance(found, EstimatedRegret)
    gain = {one.expert_id: one.gain.mean for one in found.standings}
    assert gain["c"] == pytest.approx((0.8 - 0.65) / 2, abs=0.03)
    assert gain["a"] == pytest.approx((0.2 - 0.35) / 2, abs=0.03)


def test_intervals_hold_for_all_experts_at_once() -> None:
    missed = 0
    gains = TRUE - TRUE.mean()
    for seed in range(100):
        rounds = drawn(np.full((150, 3), 1 / 3), seed=seed)
        found = estimated_regret(rounds, EXPERTS, everybody(rounds))
        assert isinstance(found, EstimatedRegret)
        edges = {one.expert_id: (one.gain.low or 0.0, one.gain.high or 0.0) for one in found.standings}
        missed += any(not edges[name][0] < gain < edges[name][1] for name, gain in zip(EXPERTS, gains, strict=True))

    assert missed <= 11


def test_no_rewards_have_no_regret() -> None:
    nothing = Rounds.of(action=[], reward=[], propensity=[], arms=3, logging=np.zeros((0, 3)))

    found = estimated_regret(nothing, EXPERTS, np.zeros((0, 3), dtype=bool))

    assert isinstance(found, Untold)
    assert found.why is Why.NOT_OBSERVED


def chosen(number: int, expert_id: str | None, *eligible: str) -> Episode:
    tiers = dict.fromkeys(eligible or EXPERTS, "fast")
    return Episode(decision_id=f"d{number}", at=AT, expert_id=expert_id, tiers=tiers)


def graded(**qualities: float) -> dict[str, Grade]:
    return {name: Grade(quality=quality) for name, quality in qualities.items()}


def known(episodes: list[Episode], truth: dict[str, dict[str, Grade]]) -> KnownRegret:
    found = known_regret(episodes, truth, lambda grade: grade.quality)
    assert isinstance(found, KnownRegret)
    return found


def test_known_regret_is_exact() -> None:
    truth = {"d0": graded(a=0.2, b=0.6, c=1.0), "d1": graded(a=0.9, b=0.6, c=0.0), "d9": graded(a=1.0)}

    found = known([chosen(0, "a"), chosen(1, "a"), chosen(2, "a")], truth)

    assert (found.decisions, found.best_expert) == (2, "b")
    assert (found.reward, found.best, found.oracle) == pytest.approx((0.55, 0.6, 0.95))
    assert found.against_best.mean == pytest.approx(0.05)
    assert found.against_oracle.mean == pytest.approx(0.4)


def test_oracle_asks_nobody_who_was_not_eligible() -> None:
    found = known([chosen(0, "a", "a", "b")], {"d0": graded(a=0.2, b=0.5, c=1.0)})

    assert (found.best_expert, found.oracle) == ("b", 0.5)
    assert found.against_oracle == Gap(mean=0.5 - 0.2, low=None, high=None)


def test_answer_that_nobody_graded_counts_for_nobody() -> None:
    found = known([chosen(0, "a"), chosen(1, "a")], {"d0": graded(a=0.5), "d1": graded(a=0.5, b=0.9)})

    assert found.best_expert == "b"
    assert found.best == pytest.approx(0.7)


@pytest.mark.parametrize("truth", [{}, {"d0": graded(b=1.0)}, {"other": graded(a=1.0)}])
def test_truth_about_other_decisions_tells_nothing(truth: dict[str, dict[str, Grade]]) -> None:
    found = known_regret([chosen(0, "a"), chosen(1, None)], truth, lambda grade: grade.quality)

    assert isinstance(found, Untold)


def test_gap_has_the_interval_of_paired_differences() -> None:
    found = gap(np.array([0.1, 0.3]))

    half = 1.96 * np.std([0.1, 0.3], ddof=1) / np.sqrt(2)
    assert (found.mean, found.low, found.high) == pytest.approx((0.2, 0.2 - half, 0.2 + half), abs=1e-4)
