"""Rows of a real router's log tell what one expert for everything would have gained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from crew_moe import Decision, Feedback, Outcome, Router, RoutingRequest
from crew_moe.learning.hindsight import Hindsight
from crew_moe.learning.regret import EstimatedRegret
from crew_moe.learning.rewards import Rewards
from crew_moe.learning.untold import Untold, Why
from crew_moe.telemetry.events import Recorder
from tests.learning.history import FLOOR, TRUE_QUALITY, exploring

Made = list[Decision]


@pytest.fixture
def router(tmp_path: Path) -> Iterator[Router]:
    with Router.from_config(exploring(tmp_path), state=":memory:", sink=Recorder()) as made:
        yield made


def judged(router: Router, count: int, **fields: Any) -> Made:
    """So many decisions whose answers were each judged as good as their expert is."""
    rng = Random(5)
    made = []
    for _ in range(count):
        asked = {"task_type": "planning", "text": "Plan", "min_quality": FLOOR, **fields}
        decision = router.decide(RoutingRequest(**asked, seed=rng.getrandbits(32)))
        assert isinstance(decision, Decision)
        name, expert_id = decision.decision_id, decision.expert_id
        router.record(Outcome(decision_id=name, expert_id=expert_id, success=True))
        router.feedback(Feedback(decision_id=name, source="a", quality=TRUE_QUALITY[expert_id]))
        made.append(decision)
    return made


def regret(router: Router, made: Sequence[Decision]) -> EstimatedRegret | Untold:
    hindsight = Hindsight(router.policy)
    rows = list(hindsight.seen(reversed(router.log.tail(10_000))))
    assert len(rows) == len(router.log.tail(10_000))
    rewards, wanted = Rewards(router.policy.learning.reward), frozenset(one.decision_id for one in made)
    return hindsight.regret(rewards, wanted, np.random.default_rng(0))


def gains(found: EstimatedRegret | Untold) -> dict[str, float]:
    assert isinstance(found, EstimatedRegret), found
    return {one.expert_id: one.gain.mean for one in found.standings}


def test_gain_of_each_expert_is_what_it_is_better_by(router: Router) -> None:
    made = judged(router, 250)

    found = regret(router, made)

    assert isinstance(found, EstimatedRegret)
    routed = sum(TRUE_QUALITY[one.expert_id] for one in made) / len(made)
    assert found.reward == pytest.approx(routed)
    assert gains(found) == {name: pytest.approx(q - routed, abs=0.06) for name, q in TRUE_QUALITY.items()}


def test_only_the_decisions_that_are_asked_about_count(router: Router) -> None:
    made = judged(router, 160)

    found = regret(router, made[:150])

    assert isinstance(found, EstimatedRegret)
    assert found.rounds == 150
    assert isinstance(regret(router, []), Untold)


def test_expert_is_not_asked_where_it_was_not_eligible(router: Router) -> None:
    everybody, few = judged(router, 200), judged(router, 100, min_quality=0.97)

    found = gains(regret(router, [*everybody, *few]))

    mean = sum(TRUE_QUALITY[one.expert_id] for one in everybody) / 200
    assert {one.expert_id for one in few} == {"claude-opus-4", "o1"}
    assert found["claude-sonnet-4"] == pytest.approx((0.9 - mean) * 2 / 3, abs=0.05)


def test_log_that_left_nothing_to_chance_speaks_of_the_chosen_alone(tmp_path: Path) -> None:
    with Router.from_config(exploring(tmp_path, 0.0), state=":memory:", sink=Recorder()) as router:
        made = judged(router, 60)
        chosen = {one.expert_id for one in made}
        found = regret(router, made)

    assert not isinstance(found, EstimatedRegret) or set(gains(found)) <= chosen
    assert isinstance(found, EstimatedRegret) or found.why is Why.NO_OVERLAP


def test_batches_groups_and_refusals_do_no_harm(router: Router) -> None:
    made = judged(router, 110)
    router.decide_batch([RoutingRequest(task_type="planning", text="Plan")] * 3)
    router.decide(RoutingRequest(task_type="planning", text="Plan", min_quality=0.999))
    router.decide(RoutingRequest(task_type="planning", text="Plan", parallel={"experts": 2}))

    assert set(gains(regret(router, made))) <= TRUE_QUALITY.keys()


def test_nothing_judged_tells_nothing(router: Router) -> None:
    decision = router.decide(RoutingRequest(task_type="planning", text="Plan"))
    assert isinstance(decision, Decision)

    found = regret(router, [decision])

    assert isinstance(found, Untold)
    assert found.why is Why.NOT_OBSERVED


def test_rows_of_an_earlier_kind_pass_through(router: Router) -> None:
    hindsight = Hindsight(router.policy)
    old: list[dict[str, Any]] = [
        {"kind": "decision", "decision_id": "d1"},
        {"kind": "epoch"},
        {"kind": "attempt"},
        {"kind": "decision", "ok": True},
    ]

    assert list(hindsight.seen(old)) == old
