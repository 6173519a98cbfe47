"""The figures of the learning report, from episodes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from crew_moe.learning.calibration import Calibration
from crew_moe.learning.drift import Drift
from crew_moe.learning.episodes import Call, Episode, Episodes
from crew_moe.learning.report import Report, report
from crew_moe.learning.untold import Untold, Why

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
TIERS = {"small": "fast", "middle": "baseline", "large": "premium"}
NONE = Untold(why=Why.NOT_OBSERVED, message="nobody looked")


def episode(number: int = 0, expert_id: str | None = "small", *calls: Call, **fields: Any) -> Episode:
    at = BEGIN + timedelta(hours=number)
    return Episode(decision_id=f"d{number}", at=at, expert_id=expert_id, calls=calls, tiers=TIERS, **fields)


def call(expert_id: str, *, ok: bool = True, usd: float = 0.0, unsettled: float = 0.0) -> Call:
    return Call(expert_id=expert_id, ok=ok, cost_usd=usd, unsettled_usd=unsettled)


def reported(*episodes: Episode, spans: int = 2, tiers: dict[str, str] | None = None) -> Report:
    found = report(Episodes(found=episodes), tiers=tiers or {}, spans=spans, rng=np.random.default_rng(0), regret=NONE)
    assert found is not None
    return found


def test_no_decision_gives_no_report() -> None:
    nothing = Episodes(found=(), unread=3)

    assert report(nothing, tiers={}, spans=2, rng=np.random.default_rng(0), regret=NONE) is None


@pytest.mark.parametrize(
    ("called", "escalated", "passed_on"),
    [
        (["small"], 0, 0),
        (["small", "large"], 1, 1),
        (["small", "small", "middle"], 1, 1),
        (["large", "small"], 0, 1),
        (["middle", "middle"], 0, 0),
        (["large", "small", "large"], 0, 1),
        (["middle", "small", "large"], 0, 1),
        (["unknown", "large"], 0, 1),
    ],
)
def test_escalation_is_a_second_expert_of_a_higher_tier(called: list[str], escalated: int, passed_on: int) -> None:
    found = reported(episode(0, called[0], *(call(name, ok=False) for name in called)), episode(1))

    assert (found.escalated.count, found.passed_on.count) == (escalated, passed_on)
    assert found.escalated.total == 1  # nobody told of a call of the other


def test_tier_that_the_row_does_not_tell_is_the_catalogues() -> None:
    risen = episode(0, "old", call("old", ok=False), call("large"))

    assert reported(risen).escalated.count == 0
    assert reported(risen, tiers={"old": "fast"}).escalated.count == 1


def test_group_that_asks_several_on_purpose_escalates_nothing() -> None:
    found = reported(episode(0, "small", call("small"), call("large"), grouped=True))

    assert (found.escalated.total, found.waste.calls.total) == (0, 2)


def test_waste_is_what_failed_calls_took() -> None:
    found = reported(
        episode(0, "small", call("small", ok=False, usd=1.0, unsettled=0.5), call("large", usd=2.0)),
        episode(1, "small", call("small", usd=1.0)),
    )

    assert (found.waste.calls.count, found.waste.calls.total) == (1, 3)
    assert found.waste.cost_share == 0.25
    assert found.waste.unsettled_usd == 0.5


def test_nothing_spent_wastes_no_share_of_it() -> None:
    assert reported(episode()).waste.cost_share is None


def test_infeasible_decisions_are_counted_by_what_bound() -> None:
    found = reported(
        episode(0),
        *(episode(number, None, binding="budget_usd") for number in (1, 2)),
        episode(3, None, binding="tier"),
    )

    assert (found.infeasible.count, found.infeasible.total) == (3, 4)
    assert found.bindings == (("budget_usd", 2), ("tier", 1))


def test_shares_and_their_drift_are_of_those_who_were_chosen() -> None:
    found = reported(*(episode(number, "small" if number < 40 else "large") for number in range(80)))

    assert found.ranked == (("large", 40), ("small", 40))
    assert isinstance(found.drift, Drift)
    assert found.drift.total_variation == 1.0
    assert found.drift.p_value < 0.01


@pytest.mark.parametrize("count", [1, 10])
def test_drift_of_few_decisions_can_not_be_told(count: int) -> None:
    found = reported(*(episode(number) for number in range(count)))

    assert isinstance(found.drift, Untold)
    assert found.drift.why is Why.TOO_FEW


def test_calibration_is_that_of_who_served() -> None:
    found = reported(
        episode(
            0,
            "small",
            call("small", ok=False),
            call("large"),
            model="m@1",
            predicted={"small": 0.1, "large": 0.9},
            quality=0.7,
        )
    )

    assert isinstance(found.calibration, Calibration)
    assert found.calibration.bias == pytest.approx(0.2)
    assert found.models == ("m@1",)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, Why.NOT_PREDICTED),
        ({"model": "m", "predicted": {"large": 0.5}, "quality": 1.0}, Why.NOT_PREDICTED),
        ({"model": "m", "predicted": {"small": 0.5}}, Why.NOT_OBSERVED),
    ],
)
def test_calibration_that_can_not_be_told_says_why(fields: dict[str, Any], why: Why) -> None:
    found = reported(episode(**fields)).calibration

    assert isinstance(found, Untold)
    assert found.why is why


def test_unfamiliar_texts_are_a_share_of_those_a_model_saw() -> None:
    found = reported(episode(0, model="m", familiar=False), episode(1, model="m"), episode(2))

    assert (found.unfamiliar.count, found.unfamiliar.total) == (1, 2)


def test_report_is_ready_for_json() -> None:
    told = reported(episode(0, "small", call("small")), episode(1, None, binding="tier")).as_dict()

    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["regret"] == {"ok": False, "why": "not_observed", "message": "nobody looked"}
    assert told["known_regret"] is None
