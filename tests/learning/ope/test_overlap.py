"""Where a log does not speak of a candidate, the answer says so and is no number."""

from __future__ import annotations

import numpy as np
import pytest

from crew_moe.learning.ope import Demanded, NoOverlap, Reason, Rounds, compare, evaluate
from crew_moe.learning.ope.rounds import Floats
from tests.learning.ope.game import CANDIDATE, play


def certain(count: int, logging: Floats | None = None) -> Rounds:
    """A log that always took arm 0 of two."""
    return Rounds.of(action=[0] * count, reward=[0.5] * count, propensity=[1.0] * count, arms=2, logging=logging)


def always(arm: int, count: int) -> Floats:
    chances: Floats = np.tile(np.eye(2)[arm], (count, 1))
    return chances


@pytest.mark.parametrize("known", [True, False])
def test_choices_that_were_never_possible_are_refused(known: bool) -> None:
    rounds = certain(100, always(0, 100) if known else None)
    candidate = np.vstack([always(0, 90), always(1, 10)])

    found = evaluate(rounds, candidate, estimator="snips")

    assert isinstance(found, NoOverlap)
    assert (found.ok, found.reason) == (False, Reason.NO_SUPPORT)
    assert found.share_without_support == pytest.approx(0.1)
    assert "10.0% of the candidate's choices could not have been logged" in found.message


def test_arm_that_is_never_seen_shows_in_the_weights_alone() -> None:
    half = Rounds.of(action=[0, 1] * 200, reward=[0.5] * 400, propensity=[1 / 3] * 400, arms=3)

    found = evaluate(half, np.tile([0.0, 0.0, 1.0], (400, 1)), estimator="ips")

    assert isinstance(found, NoOverlap)
    assert found.reason is Reason.NO_SUPPORT


def test_too_little_evidence_is_refused_and_counted() -> None:
    rounds, drawn = play(1, 40)

    found = evaluate(rounds, CANDIDATE[drawn], estimator="snips")

    assert isinstance(found, NoOverlap)
    assert found.reason is Reason.TOO_FEW
    assert found.effective_sample_size < 30
    assert evaluate(rounds, CANDIDATE[drawn], estimator="snips", demanded=Demanded(effective=5.0)).ok


def test_few_changed_choices_need_evidence_of_their_own() -> None:
    logging = np.tile([0.99, 0.01], (1_000, 1))
    rounds = Rounds.of(
        action=[0] * 990 + [1] * 10,
        reward=[0.5] * 1_000,
        propensity=[0.99] * 990 + [0.01] * 10,
        arms=2,
        logging=logging,
    )
    candidate = logging.copy()
    candidate[:50] = [0.0, 1.0]  # 50 rounds to another arm, which was taken once in a hundred: half a round's worth

    found = compare(rounds, candidate, logging, estimator="snips")

    assert isinstance(found, NoOverlap)
    assert found.overlap.moved == 50
    assert found.overlap.effective_moved == pytest.approx(0.5)
    assert "50 rounds in which the candidate chooses another way" in found.message


def test_refusing_requests_needs_no_support() -> None:
    found = evaluate(certain(100, always(0, 100)), always(0, 100) * 0.5, estimator="ips")

    assert found.ok


def test_no_rounds_say_nothing() -> None:
    found = evaluate(certain(0), np.zeros((0, 2)), estimator="ips")

    assert isinstance(found, NoOverlap)
    assert found.as_dict()["reason"] == "no_rounds"
