"""The context that bandits learn on: about the text and the task, never about who asks."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.features import Features
from crew_moe.domain.insight import Insight
from crew_moe.domain.request import RoutingRequest
from crew_moe.learning.context import NAMES, SIZE, Floats, context_vector, precision
from crew_moe.routing.features import extract
from tests.routing.given import STEADY

IDENTITIES = ("user", "tenant", "project", "session_key", "run_id", "task", "channel")


def vector(text: str = "", predicted: Insight | None = None, **fields: Any) -> Floats:
    request = RoutingRequest(text=text, **({} if text else {"task_type": "planning"}), **fields)
    return context_vector(text, extract(request), predicted)


def named(vector: Floats) -> dict[str, float]:
    return dict(zip(NAMES, vector.tolist(), strict=True))


def test_there_are_32_numbers_each_with_a_name_and_a_ridge() -> None:
    assert len(vector("What is a monad?")) == SIZE == len(set(NAMES)) == len(precision(1.0)) == 32
    assert (precision(2.0) == 2 * precision(1.0)).all()


@pytest.mark.parametrize("field", IDENTITIES)
def test_who_asks_changes_nothing(field: str) -> None:
    one, other = (vector("Where is the invoice?", None, **{field: name}) for name in ("acme-7", "zeta-9"))

    assert np.array_equal(one, other)
    assert np.array_equal(one, vector("Where is the invoice?"))


def test_no_way_leads_from_an_identity_into_a_context() -> None:
    assert list(inspect.signature(context_vector).parameters) == ["text", "features", "predicted"]
    for field in IDENTITIES:
        assert field not in Features._fields
        assert field not in Insight.__dataclass_fields__


@STEADY
@given(st.text(max_size=400))
def test_every_text_gives_numbers_that_a_ridge_can_take(text: str) -> None:
    read = context_vector(text, extract(RoutingRequest(text="plain")))

    assert np.isfinite(read).all()
    assert np.abs(read).max() <= 10.0


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("def f(x):\n    return x()", "code"),
        ("Write a function that adds two sets.", "code_wanted"),
        ("dog, cat, tree, run, leash", "list"),
        ("She went out. It rained. " * 60 + "Why was she sad?", "passage"),
        ("Solve $x^2 - y = z$ where \\(x > 0\\).", "formula"),
        ("One thing:\n- a\n- b\n- c", "lines"),
        ("Five people have 3 apples each and eat 2 of them.", "numbers"),
        ("Rivers carry stones to the sea. " * 9, "paragraph"),
        ("when did the first shop open", "query"),
        ("A switch stops the current, which causes heating in", "beginning"),
        ("Who sang with Ella at the Carnegie Hall?", "names"),
        ("What is the longest river in Asia?", "name"),
        ("Why do leaves fall?", "short"),
    ],
)
def test_a_text_has_the_first_kind_that_fits(text: str, kind: str) -> None:
    kinds = {name for name, value in named(vector(text)).items() if name.startswith("is_") and value}

    assert kinds == {f"is_{kind}"}


@pytest.mark.parametrize(
    ("text", "measure"),
    [
        ("Solve $x^2 - 4 = 0$ where \\(x > 0\\).", "formulas"),
        ("It was 1492, not 1942.", "digits"),
        ("Ann and Bob met Carl.", "capitals"),
        ("Привет, как дела?", "foreign"),
        ("word " * 200, "length"),
    ],
)
def test_the_form_of_a_text_is_measured(text: str, measure: str) -> None:
    assert named(vector(text))[measure] > 0.2
    assert named(vector("the weather was fine and we went for a walk."))[measure] <= 0.0


def test_a_task_type_counts_as_far_as_it_is_known() -> None:
    text = "Please look at this."

    assert named(vector(text, task_type="planning"))["task_planning"] == 1.0
    assert sum(abs(vector(text)[-12:])) == 0.0


def test_difficulty_is_what_a_model_predicts_of_all_experts() -> None:
    hard, easy = (vector("x", Insight(quality={"a": q, "b": q + 0.1})) for q in (0.1, 0.8))

    assert named(hard)["difficulty"] == pytest.approx(0.7)
    assert named(easy)["difficulty"] == pytest.approx(-0.7)
    assert named(vector("x"))["difficulty"] == 0.0


def test_of_a_long_text_only_the_beginning_and_the_end_are_read() -> None:
    filler = "word " * 4_000
    plain, coded = vector(filler + "done."), vector(filler + "def f(): return 1 " + filler + "done.")

    assert named(plain)["is_code"] == named(coded)["is_code"] == 0.0
    assert named(vector("word " * 17 + "done."))["is_beginning"] == 0.0
    assert named(vector("Word " + "word " * 17 + "done"))["is_beginning"] == 1.0
