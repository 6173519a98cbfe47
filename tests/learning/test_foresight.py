"""A router with a quality model: `learned` goes by what it predicts of the text, and newcomers have a prior."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from crew_moe import Decision, Feedback, Router, RoutingRequest
from crew_moe.learning.quality.prior import prior_quality
from crew_moe.learning.quality.table import read_tables
from crew_moe.learning.quality_model import fit
from crew_moe.screening.dataset import write_rows
from crew_moe.telemetry.events import Recorder
from tests.learning.quality.graded import graded_rows

SMALL, LARGE = "gpt-4o-mini", "gpt-5"  # good at facts, and good at sums
SUM, FACT = "What is 12 + 40 * 7?", "Which river runs through Lisbon?"
POLICY = f"""
strategy: learned
access: [{{name: two, only: {{ids: [{SMALL}, {LARGE}]}}}}]
learning: {{model: model}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration with a model of two experts of the catalogue."""
    found = tmp_path_factory.mktemp("config")
    named = {"small": SMALL, "large": LARGE}
    rows = [
        {key.replace("small", named["small"]).replace("large", named["large"]): value for key, value in row.items()}
        for row in graded_rows(120, seed=1)
    ]
    write_rows(found / "graded.jsonl", rows)
    fit(read_tables(found / "graded.jsonl", None)).save(found / "model")
    (found / "policy.yaml").write_text(POLICY, encoding="utf-8")
    return found


@pytest.fixture
def on(folder: Path) -> Iterator[Router]:
    with Router.from_config(folder, state=":memory:", sink=Recorder()) as router:
        yield router


def _decide(on: Router, text: str, **fields: object) -> Decision:
    found = on.decide(RoutingRequest.model_validate({"task_type": "analysis", "text": text, **fields}))
    assert isinstance(found, Decision)
    return found


def test_who_serves_follows_the_text(on: Router) -> None:
    assert (_decide(on, SUM).expert_id, _decide(on, FACT).expert_id) == (LARGE, SMALL)


def test_a_row_tells_what_was_predicted_and_by_which_model(on: Router) -> None:
    decision = _decide(on, SUM)
    told = on.explain(decision.decision_id)
    insight = told.row["insight"]

    assert told.matches
    assert insight["model"]
    assert insight["quality"][LARGE] > insight["quality"][SMALL] + 0.3
    assert set(insight["quality"]) == set(insight["spread"]) == {expert.expert_id for expert in on.registry.experts}
    assert insight["vector"] == []


def test_an_expert_that_the_model_never_saw_has_a_prior(on: Router) -> None:
    insight = on.learner.insight(RoutingRequest(text=SUM), None, on.registry)
    assert insight is not None

    known = [insight.quality[one] for one in (SMALL, LARGE)]
    assert insight.quality["o1"] != prior_quality(on.registry["o1"])[0]  # the model knows how hard the work is
    assert 0.0 < insight.quality["o1"] < 1.0
    assert insight.spread["o1"] > 0.1
    assert known[0] < known[1]


def test_a_bandit_begins_where_the_model_is(on: Router) -> None:
    decision = _decide(on, SUM, strategy="linucb")
    insight = on.explain(decision.decision_id).row["insight"]

    assert insight["mean"] == pytest.approx(insight["quality"])
    assert len(insight["vector"]) == 32
    assert on.feedback(Feedback(decision_id=decision.decision_id, source="a", quality=0.1))
