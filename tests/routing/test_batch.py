"""A batch gives every request the answer that it gets alone, bit for bit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.decision import Decision
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.task import TaskType
from crew_moe.errors import UnknownExpert
from crew_moe.routing import Board, decide
from crew_moe.routing import batch as batches
from crew_moe.routing.batch import Decisions, decide_batch
from crew_moe.routing.batch_record import row_in_batch
from crew_moe.routing.record import replay, row_of
from tests.routing.asking import boards, families, requests
from tests.routing.given import EXPLORING, NOW, STEADY, board, expert, market, pin


def together(asked: list[RoutingRequest], on: Board, seed: int = 7) -> Decisions:
    return decide_batch(asked, on, batch_id="b", now=NOW, new_seed=lambda: seed)


@STEADY
@given(st.lists(requests(), min_size=1, max_size=12) | families(), boards())
def test_a_batch_equals_its_requests_one_by_one(asked: list[RoutingRequest], on: Board) -> None:
    found = together(asked, on)

    for row, request in enumerate(asked):
        alone = decide(request, on, decision_id=f"b.{row}", now=NOW, new_seed=lambda: 7)
        results = found.results
        assert found[row].as_dict() == alone.as_dict()
        assert found.expert_ids[row] == (alone.expert_id if isinstance(alone, Decision) else None)
        if isinstance(alone, Decision):
            figures = (results.score[row], results.cost_nano[row], results.propensity[row])
            assert figures == (alone.score, alone.basis.expected_nano, alone.propensity)
        else:
            assert not results.ok[row]


@STEADY
@given(st.lists(requests(), min_size=1, max_size=12), boards())
def test_every_row_of_a_batch_can_be_worked_out_again(asked: list[RoutingRequest], on: Board) -> None:
    found = together(asked, on)
    stored = json.loads(json.dumps(found.record.row(), allow_nan=False))

    for row in range(len(asked)):
        entry = row_in_batch(stored, str(row))
        assert entry is not None
        again, answer = replay(entry, on.policy), found[row]
        assert entry["ok"] == answer.ok
        if again is not None:
            assert isinstance(answer, Decision)
            assert again == (answer.expert_id, answer.score, answer.propensity)


def test_a_batch_is_a_sequence() -> None:
    found = together([RoutingRequest(task_type=task_type) for task_type in TaskType], board())

    assert len(found) == len(list(found)) == 12
    assert [answer.decision_id for answer in found[2:4]] == ["b.2", "b.3"]
    assert found[-1].decision_id == "b.11"
    with pytest.raises(IndexError, match="row 12 of a batch of 12"):
        found[12]


def test_an_empty_batch_is_no_error() -> None:
    assert list(together([], board())) == []


def test_a_batch_over_an_empty_registry_is_infeasible_throughout() -> None:
    found = together([RoutingRequest(task_type="planning", budget_usd=1)], board(registry=market()))

    assert found.expert_ids == [None]
    assert not found[0].ok


def test_a_wrong_name_in_a_batch_is_refused() -> None:
    with pytest.raises(UnknownExpert, match="gpt-4o-mini"):
        together([RoutingRequest(task_type="planning", pin="gpt-4o-mni")], board())


def test_a_large_batch_is_judged_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [RoutingRequest(task_type="planning", context_tokens=500 * row) for row in range(50)]
    whole = together(asked, board()).results

    monkeypatch.setattr(batches, "MAX_CELLS", 7)

    pieces = together(asked, board()).results
    assert (pieces.score.tolist(), pieces.position.tolist()) == (whole.score.tolist(), whole.position.tolist())


def test_a_row_that_explores_tells_the_same_each_time() -> None:
    seeds = iter(range(100))
    on = board(policy=EXPLORING, registry=market(expert("a"), expert("b")))
    found = decide_batch(
        [RoutingRequest(task_type="planning")] * 40, on, batch_id="b", now=NOW, new_seed=lambda: next(seeds)
    )

    assert [answer.as_dict() for answer in found] == [answer.as_dict() for answer in found]
    assert len(set(found.expert_ids)) == 2


@pytest.mark.parametrize(
    "different",
    [
        {"residency": "eu"},
        {"risk": "high"},
        {"text": "the patient"},
        {"budget_usd": "0.005"},
        {"budget_usd": "0.0051"},
        {"context_tokens": 150_000},
        {"context_tokens": 99_999},
        {"max_output_tokens": 1},
        {"preferred_providers": ["openai"]},
        {"tier": "premium"},
        {"max_tier": "fast"},
        {"profile": "quick-draft"},
        {"pin": "command-r"},
        {"fallbacks": ["local/extractive"]},
        {"modality": "image"},
        {"requires": ["vision"]},
        {"strategy": "rule"},
        {"tenant": "a"},
        {"task": "first"},
        {"parallel": True},
        {"pii": "local_only"},
        {"min_quality": 0.9},
        {"max_latency_ms": 500},
        {"task_type": "testing"},
        {"text": "原因"},
    ],
)
def test_a_batch_tells_requests_apart_that_differ_in_one_field(different: dict[str, Any]) -> None:
    on = board(pins=(pin("gpt-4o", tenant="a"), pin("gpt-5", task="first")))
    plain: dict[str, Any] = {"task_type": "planning", "text": "hello", "budget_usd": "0.2"}
    asked = [RoutingRequest(**plain), RoutingRequest(**{**plain, **different}), RoutingRequest(**plain)]
    alone = [decide(one, on, decision_id="b", now=NOW, new_seed=lambda: 7) for one in asked]

    stored = together(asked, on).record.row()

    for number, one in enumerate(alone):
        entry = row_in_batch(stored, str(number))
        assert entry is not None
        row = row_of(one, b"", (), b"")
        for name in ("ok", "expert_id", "score", "propensity", "roster", "figures", "sizes"):
            assert entry.get(name) == row.get(name)


@pytest.mark.parametrize("number", ["1", "x", "-1", ""])
def test_a_row_that_is_not_there_is_none(number: str) -> None:
    stored = together([RoutingRequest(task_type="planning")], board()).record.row()

    assert row_in_batch(stored, number) is None
    assert row_in_batch({"kind": "decision"}, "0") is None


def test_no_text_outlives_its_batch() -> None:
    asked = [RoutingRequest(task_type="planning", text="Moby Dick"), RoutingRequest(text="an analysis of Moby Dick")]

    assert "Moby" not in json.dumps(together(asked, board()).record.row())
