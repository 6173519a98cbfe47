"""What is read off a text, and what is never guessed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.task import Modality, Risk, TaskType, Urgency
from crew_moe.routing.features import NO_EVIDENCE, estimate_ascii, estimate_tokens, extract, script_of
from tests.routing.given import STEADY


@pytest.mark.parametrize(
    ("text", "task_type"),
    [
        ("Implement a parser for log lines", "code_generation"),
        ("Please review this code before the release", "code_review"),
        ("Add unit tests and raise the test coverage", "testing"),
        ("Refactor the module and rename its helpers", "refactoring"),
        ("Prove it step by step", "reasoning"),
        ("Make a roadmap with one milestone a month", "planning"),
        ("Compare the trend of both years", "analysis"),
        ("Find every vulnerability that an attacker could exploit", "security_audit"),
        ("Write a readme and a user guide", "documentation"),
        ("Look up the weather and call the calendar", "tool_use"),
        ("What does this screenshot show?", "multimodal"),
        ("Read the entire book", "long_context"),
    ],
)
def test_a_task_type_is_inferred_from_its_words(text: str, task_type: str) -> None:
    features = extract(RoutingRequest(text=text))

    assert features.task_type == task_type
    assert 0.3 < features.task_confidence <= 0.95
    assert dict(features.inferred)["task_type"] == features.task_confidence


def test_confidence_falls_where_the_evidence_is_divided() -> None:
    clear = extract(RoutingRequest(text="Refactor this and clean up"))
    divided = extract(RoutingRequest(text="Refactor the roadmap"))

    assert divided.task_confidence < clear.task_confidence


def test_no_evidence_is_said_to_be_none() -> None:
    features = extract(RoutingRequest(text="Hello there"))

    assert (features.task_type, features.task_confidence) == (TaskType.ANALYSIS, NO_EVIDENCE)


def test_code_makes_a_review_of_code() -> None:
    assert extract(RoutingRequest(text="review: def f(): pass; import os")).task_type is TaskType.CODE_REVIEW


def test_what_is_named_is_not_guessed() -> None:
    named = {"modality": "text", "risk": "low", "urgency": "low", "task_type": "testing"}

    features = extract(RoutingRequest(text="urgent: patient's password ```x```", **named))

    assert (features.modality, features.risk, features.urgency) == ("text", "low", "low")
    assert (features.task_confidence, features.inferred) == (1.0, ())


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"text": "the PATIENT's chart"}, "risk", Risk.HIGH),
        ({"task_type": "security_audit"}, "risk", Risk.MEDIUM),
        ({"text": "a poem"}, "risk", Risk.LOW),
        ({"text": "ASAP please"}, "urgency", Urgency.HIGH),
        ({"text": "when you can"}, "urgency", Urgency.NORMAL),
        ({"text": "class A: ..."}, "modality", Modality.CODE),
        ({"text": "a poem"}, "modality", Modality.TEXT),
        ({"requires": ["vision"]}, "modality", Modality.IMAGE),
        ({"task_type": "multimodal"}, "modality", Modality.IMAGE),
    ],
)
def test_signals_are_read_off_the_request(fields: dict[str, object], name: str, value: str) -> None:
    assert getattr(extract(RoutingRequest(**{"task_type": "analysis", **fields})), name) == value


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("plain", "Latn"),
        ("naïve café", "Latn"),
        ("— … €", "Latn"),
        ("Привет", "Cyrl"),
        ("Καλημέρα", "Grek"),
        ("שלום", "Hebr"),
        ("مرحبا", "Arab"),
        ("नमस्ते", "Deva"),
        ("สวัสดี", "Thai"),
        ("漢字だけでなく", "Jpan"),
        ("你好", "Hani"),
        ("안녕", "Kore"),
        ("я" * 500 + "漢" * 900, "Cyrl"),
    ],
)
def test_the_script_is_that_of_most_letters(text: str, script: str) -> None:
    assert script_of(text) == script


@STEADY
@given(st.lists(st.text(alphabet=st.characters(max_codepoint=127), max_size=60), max_size=9))
def test_tokens_of_many_texts_are_those_of_each(texts: list[str]) -> None:
    chars = np.array([len(text) for text in texts], dtype=np.int64)
    spaces = np.array([text.count(" ") for text in texts], dtype=np.int64)

    assert estimate_ascii(chars, spaces).tolist() == [estimate_tokens(text) for text in texts]


def test_tokens_of_other_scripts_are_not_underestimated() -> None:
    assert estimate_tokens("漢字" * 100) >= 200
    assert estimate_tokens("a" * 400) == 101
    assert estimate_tokens("") == 0
