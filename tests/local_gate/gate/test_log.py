"""What choices leave in the decision log, and what is learned from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crew_moe.domain.hosting import GateSpec
from crew_moe.domain.outcome import Outcome
from crew_moe.local_gate.features import features
from crew_moe.local_gate.gate.gate import Gate
from crew_moe.local_gate.gate.lessons import Lessons
from crew_moe.local_gate.gate.log import correction_row, gate_row, lessons_from_log, named_row, outcome_row
from crew_moe.state import open_log
from tests.local_gate.gate.given import PACKAGED, hosts

TEXT = "Which grandmother keeps a purple umbrella in Lisbon?"
Row = Mapping[str, Any]


@pytest.fixture(scope="module")
def chosen() -> dict[str, Any]:
    """The row of a choice of the gate, which goes to `extractive`."""
    gate = Gate.open(GateSpec(), hosts())
    return gate_row("d1", gate.choose(gate.features(TEXT), PACKAGED), version=gate.version)


def taught(*rows: Row) -> tuple[str, ...]:
    """The experts of the lessons of rows that came in this order."""
    return lessons_from_log(reversed(rows)).labels


def test_row_holds_features_and_no_word_of_the_text(chosen: dict[str, Any]) -> None:
    told = json.dumps(chosen, allow_nan=False)

    assert (chosen["expert"], chosen["wished"], chosen["chosen_by"]) == ("extractive", True, "gate")
    assert sum(chosen["probabilities"].values()) == pytest.approx(1.0)
    assert [word for word in ("grandm", "purple", "umbrella", "isbon") if word in told] == []


def test_success_is_a_lesson_and_failure_is_none(chosen: dict[str, Any]) -> None:
    assert taught(chosen, outcome_row("d1", "extractive", success=True)) == ("extractive",)
    assert taught(chosen, outcome_row("d1", "extractive", success=False)) == ()
    assert taught(chosen) == ()


def test_outcome_of_the_router_counts_as_well(chosen: dict[str, Any]) -> None:
    outcome = Outcome(decision_id="d1", expert_id="extractive", success=True)

    assert taught(chosen, {"kind": "outcome", **outcome.model_dump(mode="json")}) == ("extractive",)


def test_correction_is_a_lesson_for_the_better_expert(chosen: dict[str, Any]) -> None:
    served = outcome_row("d1", "extractive", success=True)

    assert taught(chosen, served, correction_row("d1", "byt5")) == ("byt5",)
    assert taught(chosen, correction_row("d1", "byt5"), correction_row("d1", "longformer")) == ("longformer",)


def test_choice_among_some_of_the_experts_is_no_wish_of_the_gate() -> None:
    gate = Gate.open(GateSpec(), hosts())

    row = gate_row("d1", gate.choose(gate.features("f(x) == {1}"), ("extractive", "longformer")), version="v")

    assert row["wished"] is False
    assert taught(row, outcome_row("d1", row["expert"], success=True)) == ()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rows: [{**rows[0], "wished": False}, rows[1]],
        lambda rows: [rows[0], {**rows[1], "expert_id": "byt5"}],
        lambda rows: [*rows, {"kind": "feedback", "decision_id": "d1", "outcome": "failure"}],
        lambda rows: [{**rows[0], "features_version": "old"}, rows[1]],
        lambda rows: [rows[1]],
        lambda rows: [{"closed": True}, {"kind": "decision", "decision_id": "d1", "expert_id": "gpt"}, rows[1]],
    ],
    ids=["overflowed", "another served", "judged a failure", "other features", "no choice", "other rows"],
)
def test_row_that_proves_nothing_teaches_nothing(
    chosen: dict[str, Any], spoil: Callable[[list[Row]], list[Row]]
) -> None:
    assert taught(*spoil([chosen, outcome_row("d1", "extractive", success=True)])) == ()


def test_caller_who_names_an_expert_teaches_the_gate() -> None:
    named = named_row("d2", "byt5", features(TEXT))

    assert taught(named, outcome_row("d2", "byt5", success=True)) == ("byt5",)


@pytest.mark.parametrize("url", [":memory:", "sqlite:///{folder}/log.db"])
def test_lessons_come_back_from_a_log_as_they_were(chosen: dict[str, Any], url: str, tmp_path: Path) -> None:
    log = open_log(url.format(folder=tmp_path))
    log.append("d1", lambda: chosen)
    log.append("d1/served/1", lambda: outcome_row("d1", "extractive", success=True))
    log.flush()

    lessons = lessons_from_log(log.tail(10))
    log.close()

    assert lessons.labels == ("extractive",)
    assert np.array_equal(lessons.vectors[0], features(TEXT).vector)


def test_text_that_came_often_is_one_cluster() -> None:
    texts = {"d1": TEXT, "d2": "Which other one?", "d3": TEXT}
    named = [named_row(name, "extractive", features(text)) for name, text in texts.items()]
    served = [outcome_row(name, "extractive", success=True) for name in texts]

    clusters = lessons_from_log([*served, *named]).clusters

    assert clusters[0] == clusters[2] != clusters[1]


def test_empty_log_gives_no_lessons() -> None:
    lessons = lessons_from_log([])

    assert len(lessons) == 0
    assert len(Lessons.of([]).plus(lessons)) == 0
