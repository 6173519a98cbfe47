"""Deciding by predicted quality: the points follow the prediction, what is eligible does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from crew_moe.domain.decision import Decision
from crew_moe.domain.insight import Insight, insight_of
from crew_moe.domain.request import RoutingRequest
from crew_moe.routing import Board, decide
from crew_moe.routing.batch import decide_batch
from crew_moe.routing.record import replay, row_of
from tests.routing.asking import boards, requests
from tests.routing.given import NOW, POLICY, REGISTRY, STEADY, board, expert, market

PLAIN = market(*(expert(name, quality=quality) for name, quality in (("a", 0.9), ("b", 0.8), ("c", 0.7))))
IDS = [one.expert_id for one in REGISTRY.experts]
insights = some.dictionaries(some.sampled_from(IDS), some.floats(0, 1), max_size=8).map(lambda q: Insight(quality=q))


def learned(quality: dict[str, float], on: Board | None = None, **fields: Any) -> Decision:
    request = RoutingRequest(**{"task_type": "planning", "strategy": "learned", **fields})
    found = decide(
        request,
        on or board(registry=PLAIN),
        decision_id="d-1",
        now=NOW,
        new_seed=lambda: 5,
        insight=Insight(model="m@1", quality=quality),
    )
    assert isinstance(found, Decision), found
    return found


def test_the_prediction_takes_the_place_of_the_catalogues_quality() -> None:
    found = learned({"a": 0.2, "b": 0.3, "c": 0.95})

    assert found.expert_id == "c"
    assert found.factors["quality"] == pytest.approx(0.95 * 100 * POLICY.weights.quality / POLICY.weights.total)
    assert sum(found.factors.values()) == pytest.approx(found.score)
    assert "predicted quality 0.95" in found.rationale


def test_fallbacks_follow_the_prediction_too() -> None:
    assert learned({"a": 0.1, "b": 0.5, "c": 0.9}).fallbacks == ("b", "a")


def test_an_expert_without_a_prediction_keeps_its_own_quality() -> None:
    assert learned({"a": 0.1}).expert_id == "b"


def test_a_floor_holds_by_the_catalogue_whatever_is_predicted() -> None:
    found = learned({"c": 1.0}, min_quality=0.75)

    assert found.expert_id == "a"
    assert {one.expert_id: one.rule for one in found.rejections} == {"c": "min_quality"}


def test_other_strategies_do_not_go_by_it() -> None:
    assert learned({"c": 1.0, "a": 0.0}, strategy="score").expert_id == "a"


@STEADY
@given(requests(), boards(), insights)
def test_a_row_decides_again_bit_for_bit(request: RoutingRequest, on: Board, insight: Insight) -> None:
    request = request.model_copy(update={"strategy": "learned"})
    found = decide(request, on, decision_id="d-1", now=NOW, new_seed=lambda: 5, insight=insight)
    row = json.loads(json.dumps(row_of(found, b"", (), b"")))

    if isinstance(found, Decision) and found.group is None:
        assert replay(row, on.policy) == (found.expert_id, found.score, found.propensity)
        assert insight_of(row["insight"]) == insight


@STEADY
@given(some.lists(requests(), max_size=5), boards(), insights)
def test_a_batch_equals_its_requests_one_by_one(asked: list[RoutingRequest], on: Board, insight: Insight) -> None:
    asked = [one.model_copy(update={"strategy": "learned"}) for one in asked]
    batch = decide_batch(asked, on, batch_id="b", now=NOW, new_seed=lambda: 5, insight=lambda _: insight)

    for row, request in enumerate(asked):
        alone = decide(request, on, decision_id=f"b.{row}", now=NOW, new_seed=lambda: 5, insight=insight)
        assert batch[row].as_dict() == alone.as_dict()


def test_a_batch_asks_once_for_each_request() -> None:
    asked: list[str] = []

    def foresee(request: RoutingRequest) -> Insight:
        asked.append(request.text)
        return Insight(quality={"c": 1.0})

    wanted = [RoutingRequest(task_type="planning", text=text, strategy="learned") for text in "xy"]
    batch = decide_batch(wanted, board(registry=PLAIN), batch_id="b", now=NOW, new_seed=lambda: 5, insight=foresee)

    assert [batch[0].as_dict(), batch[0].as_dict()] == [batch[0].as_dict()] * 2
    assert (batch.expert_ids, asked) == (["c", "c"], ["x", "y"])
