"""One clear sentence for everything that can be wrong with what somebody gives."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from crew_moe.domain.complaint import complaint, told
from crew_moe.domain.outcome import Feedback, Outcome
from crew_moe.domain.request import RoutingRequest
from crew_moe.errors import InvalidRequest


def refusal(model: type[BaseModel], **fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        model(**fields)
    return caught.value


@pytest.mark.parametrize(
    ("fields", "where", "says"),
    [
        ({"min_qualty": 0.5}, "", "unknown field 'min_qualty'; did you mean 'min_quality'?"),
        ({"task_type": "code_gen"}, "task_type", "did you mean 'code_generation'?"),
        ({"parallel": "aut"}, "parallel", "did you mean 'auto'?"),
        ({"parallel": 5}, "parallel", "allowed: auto, a mapping with consensus, experts, true, false"),
        ({"parallel": {"expert": 3}}, "parallel", "did you mean 'experts'?"),
        ({"parallel": {"experts": 99}}, "parallel.experts", "less than or equal to 8 (given 99)"),
        ({"parallel": {"consensus": "jugde"}}, "parallel.consensus", "did you mean 'judge'?"),
        ({"requires": ["tols"]}, "requires.0", "did you mean 'tools'?"),
        ({"requires": "tools"}, "requires", "must be a list (given 'tools')"),
        ({"context_tokens": 1.5}, "context_tokens", "must be a whole number (given 1.5)"),
        ({"context_tokens": "many"}, "context_tokens", "must be a whole number (given a string)"),
        ({"min_quality": "good"}, "min_quality", "must be a number (given 'good')"),
        ({"min_quality": True}, "min_quality", "must be a number (given True)"),
        ({"max_latency_ms": True}, "max_latency_ms", "must be a number (given True)"),
        ({"max_output_tokens": True}, "max_output_tokens", "must be a whole number (given True)"),
        ({"min_quality": float("nan")}, "min_quality", "given nan"),
        ({"text": 5}, "text", "must be a string (given 5)"),
        ({"text": "a\ud800"}, "text", "must be valid Unicode (given a string)"),
        ({"budget_usd": "-1"}, "budget_usd", "'-1' is no amount of US$"),
        ({"budget_usd": float("nan")}, "budget_usd", "nan is no amount of US$"),
        ({"budget_usd": True}, "budget_usd", "a bool is no amount of US$"),
        ({"budget_usd": "9" * 500}, "budget_usd", "is no amount of US$"),
        ({"fallbacks": {"a": 1}}, "fallbacks", "must be a list (given a mapping)"),
        ({"tenant": ["a"]}, "tenant", "must be a string (given a list)"),
    ],
)
def test_a_wrong_request_is_told_what_where_and_what_is_meant(fields: dict[str, Any], where: str, says: str) -> None:
    error = refusal(RoutingRequest, **fields)

    assert error.where == where
    assert says in str(error)
    assert len(str(error)) < 500


@pytest.mark.parametrize(
    ("model", "fields", "says"),
    [
        (Outcome, {"expert_id": "b", "success": True}, "field 'decision_id' is required"),
        (Outcome, {"decision": "a", "expert_id": "b", "success": True}, "did you mean 'decision_id'?"),
        (Outcome, {"decision_id": "a", "expert_id": "b", "success": "maybe"}, "success: must be true or false"),
        (Outcome, {"decision_id": "a", "expert_id": "b", "success": True, "error": "time-out"}, "'timeout'"),
        (Outcome, {"decision_id": "a", "expert_id": "b", "success": True, "cost_usd": -1}, "cost_usd: -1 is no amount"),
        (Outcome, {"decision_id": "a", "expert_id": "b", "success": True, "attempt": 0}, "attempt: "),
        (Feedback, {"decision_id": "a", "source": "b", "rating": 9}, "rating: "),
        (Feedback, {"decision_id": "a", "source": "b", "outcome": "sucess"}, "did you mean 'success'?"),
        (Feedback, {"decision_id": "a", "source": ""}, "source: "),
    ],
)
def test_wrong_outcomes_and_feedback_are_told_too(model: type[BaseModel], fields: dict[str, Any], says: str) -> None:
    assert says in str(refusal(model, **fields))


def test_ten_megabytes_of_text_are_refused_unseen() -> None:
    error = refusal(RoutingRequest, text="secret " * 1_500_000)

    assert "at most 8000000 characters (given a string)" in str(error)
    assert "secret" not in str(error)


def test_values_under_secretive_names_are_not_shown() -> None:
    class Config(BaseModel):
        api_key_env: int

    with pytest.raises(ValidationError) as caught:
        Config.model_validate({"api_key_env": "sk-123"})

    assert complaint(caught.value, Config) == ("must be a whole number (given a string)", "api_key_env", None, ())


def test_long_values_are_shortened() -> None:
    error = refusal(RoutingRequest, min_quality="z" * 5_000)

    assert len(str(error)) < 150


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tier: Literal["fast", "premium"]
    count: int = 0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"tier": "slow"}, ("is not one of the allowed values", ("fast", "premium"))),
        ({}, ("is required", ())),
        ({"tier": "fast", "tire": 1}, ("is unknown", ())),
        ({"tier": "fast", "count": "many"}, ("must be a whole number", ())),
    ],
)
def test_a_problem_is_told_without_its_value(given: dict[str, object], expected: tuple[str, tuple[str, ...]]) -> None:
    with pytest.raises(ValidationError) as failed:
        _Told.model_validate(given)

    assert told(dict(failed.value.errors()[0])) == expected
