"""Outcomes and feedback: counted once, for the right decision, and told again by explain."""

from __future__ import annotations

import pytest

from crew_moe import Feedback, InvalidInput, Outcome, RoutingRequest
from crew_moe.errors import UnknownDecision, UnknownExpert
from tests.router.given import decided, refused, router


def test_an_outcome_counts_once_per_attempt() -> None:
    on = router()
    decision = decided(on)
    outcome = Outcome(decision_id=decision.decision_id, expert_id=decision.expert_id, success=True)

    assert on.record(outcome)
    assert not on.record(outcome)
    assert on.record(outcome.model_copy(update={"attempt": 2}))
    assert on.stats()["calls"] == {decision.expert_id: 2.0}


@pytest.mark.parametrize(
    ("error", "opened", "calls"),
    [
        (None, ["expert", "provider"], 6.0),
        ("timeout", ["expert", "provider"], 6.0),
        ("rate_limit", ["expert"], 6.0),
        ("bad_request", [], 0.0),
        ("refused", [], 0.0),
    ],
)
def test_a_failure_counts_as_far_as_its_error_blames_somebody(
    error: str | None, opened: list[str], calls: float
) -> None:
    on = router()
    decision = decided(on)
    failed = Outcome(decision_id=decision.decision_id, expert_id=decision.expert_id, success=False, error=error)
    for attempt in range(1, 7):
        assert on.record(failed.model_copy(update={"attempt": attempt}))

    stats = on.stats()

    assert [key.partition(":")[0] for key in stats["open_breakers"]] == opened
    assert stats["calls"][decision.expert_id] == calls


def test_an_outcome_of_an_unknown_decision_or_expert_is_refused() -> None:
    on = router()
    decision = decided(on)

    with pytest.raises(UnknownDecision, match="unknown decision 'd-0'"):
        on.record(Outcome(decision_id="d-0", expert_id="gpt-4o", success=True))
    with pytest.raises(UnknownExpert, match="did you mean 'gpt-4o'"):
        on.record(Outcome(decision_id=decision.decision_id, expert_id="gpt-4", success=True))
    assert issubclass(UnknownDecision, InvalidInput)


def test_feedback_counts_once_per_source() -> None:
    on = router()
    decision = decided(on)
    judgement = Feedback(decision_id=decision.decision_id, source="a", quality=0.25)

    assert on.feedback(judgement)
    assert not on.feedback(judgement)
    assert on.feedback(judgement.model_copy(update={"source": "b"}))
    row = next(row for row in on.health() if row.expert_id == decision.expert_id)
    catalogued = on.registry[decision.expert_id].quality
    assert row.quality == pytest.approx(0.25 + (catalogued - 0.25) * 0.9**2)


def test_feedback_goes_to_the_expert_that_served() -> None:
    on = router()
    decision = decided(on)
    on.record(Outcome(decision_id=decision.decision_id, expert_id=decision.expert_id, success=False))
    on.record(Outcome(decision_id=decision.decision_id, expert_id="command-r", success=True, attempt=2))

    on.feedback(Feedback(decision_id=decision.decision_id, source="a", quality=0.25))

    assert next(row for row in on.health() if row.expert_id == "command-r").quality == pytest.approx(
        0.25 + (on.registry["command-r"].quality - 0.25) * 0.9
    )


def test_explain_works_a_decision_out_again_and_tells_who_served() -> None:
    on = router()
    decision = decided(on, text="Moby Dick")
    on.record(Outcome(decision_id=decision.decision_id, expert_id=decision.expert_id, success=False, error="timeout"))
    on.record(Outcome(decision_id=decision.decision_id, expert_id="command-r", success=True, attempt=2))

    told = on.explain(decision.decision_id)

    assert told.matches
    assert told.recomputed == (decision.expert_id, decision.score, decision.propensity)
    assert told.served_by == "command-r"
    assert [row["success"] for row in told.served] == [False, True]
    assert told.rationale == decision.rationale
    assert told.as_dict()["decision"]["expert_id"] == decision.expert_id


def test_explain_of_an_infeasible_answer_tells_why() -> None:
    on = router()
    told = on.explain(refused(on, min_quality=1.0).decision_id)

    assert told.rationale.startswith("infeasible: min_quality")
    assert (told.matches, told.recomputed, told.served_by) == (None, None, None)
    assert told.as_dict()["recomputed"] is None


def test_rows_of_a_batch_are_explained_and_recorded_like_others() -> None:
    on = router()
    asked = [RoutingRequest(task_type="planning"), RoutingRequest(text="prove it", min_quality=1.0)]
    found = on.decide_batch([*asked, RoutingRequest(task_type="planning", strategy="rule")])

    told = [on.explain(answer.decision_id) for answer in found]
    assert [one.matches for one in told] == [True, None, True]
    first = found[0].decision_id
    assert on.record(Outcome(decision_id=first, expert_id="gpt-4o", success=True))
    assert on.explain(first).served_by == "gpt-4o"


@pytest.mark.parametrize("missing", ["d-0", "d-0.1", "{batch}.9", "{batch}.x", "{batch}"])
def test_what_is_not_in_the_log_is_an_unknown_decision(missing: str) -> None:
    on = router()
    batch_id = on.decide_batch([RoutingRequest(task_type="planning")])[0].decision_id.rpartition(".")[0]

    with pytest.raises(UnknownDecision):
        on.explain(missing.format(batch=batch_id))
