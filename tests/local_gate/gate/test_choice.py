"""One choice: who may serve, how sure it is, and what the plan says of doubts."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crew_moe.domain.hosting import GateSpec
from crew_moe.errors import InvalidInput
from crew_moe.local_gate.features import features
from crew_moe.local_gate.gate.capacity import WINDOW, Recent
from crew_moe.local_gate.gate.choice import GateChoice, choose
from crew_moe.local_gate.gate.gate import packaged
from tests.local_gate.gate.given import PACKAGED

LABELS = {name: name for name in PACKAGED}
REGEX = r"Which strings does ^\d{3}-[a-f]+$ match?"
PROSE = "Where should we spend our holidays with two small children?"


def chosen(
    text: str,
    among: Collection[str] = PACKAGED,
    labels: dict[str, str] = LABELS,
    recent: Recent = Recent(),  # noqa: B008 - frozen
    **spec: Any,
) -> GateChoice:
    network = packaged().network
    return choose(network, labels, features(text), among, spec=GateSpec(**spec), recent=recent)[0]


@settings(max_examples=30)
@given(st.text(max_size=80), st.sets(st.sampled_from(PACKAGED), min_size=1))
def test_choice_is_among_those_that_can_serve(text: str, among: set[str]) -> None:
    choice = chosen(text, among)

    assert choice.expert == choice.ranked[0]
    assert set(choice.ranked) == choice.probabilities.keys() == among
    assert sum(choice.probabilities.values()) == pytest.approx(1.0, abs=1e-6)
    assert 1 / len(among) - 1e-9 <= choice.confidence <= 1.0


def test_probabilities_of_the_others_stay_in_proportion() -> None:
    whole, part = chosen(REGEX), chosen(REGEX, ("extractive", "longformer"))

    expected = whole.probabilities["extractive"] / whole.probabilities["longformer"]
    assert part.probabilities["extractive"] / part.probabilities["longformer"] == pytest.approx(expected, rel=1e-4)


def test_nobody_to_choose_from_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="nobody can serve"):
        chosen(REGEX, ())


def test_expert_that_the_gate_does_not_know_serves_only_where_no_other_can() -> None:
    assert chosen(REGEX, ("extractive", "unknown")).ranked == ("extractive",)
    alone = chosen(REGEX, ("unknown", "another"))
    assert (alone.expert, alone.confidence) == ("another", 0.5)


def test_experts_of_one_output_share_its_probability() -> None:
    labels = {"small": "byt5", "large": "byt5", "extractive": "extractive"}

    choice = chosen(REGEX, labels, labels)

    assert choice.probabilities["small"] == choice.probabilities["large"]
    assert choice.probabilities["extractive"] == pytest.approx(
        chosen(REGEX, ("byt5", "extractive")).probabilities["extractive"], rel=1e-4
    )


def test_plan_names_who_serves_in_doubt() -> None:
    sure = chosen(REGEX, min_confidence=0.6, otherwise="extractive")
    unsure = chosen(REGEX, min_confidence=1.0, otherwise="extractive")

    assert (sure.expert, sure.unsure) == ("byt5", False)
    assert (unsure.expert, unsure.unsure) == ("extractive", True)
    assert unsure.confidence == unsure.probabilities["extractive"]
    assert chosen(REGEX, ("byt5", "longformer"), min_confidence=1.0, otherwise="extractive").expert == "byt5"


def test_full_expert_hands_over_to_the_next() -> None:
    choice = chosen(REGEX, recent=Recent(("byt5",) * WINDOW), capacity_factor=1.0)

    assert choice.overflowed
    assert choice.expert == choice.ranked[1]


def test_best_experts_have_weights_that_sum_to_one() -> None:
    choice = chosen(PROSE)

    assert tuple(choice.top(2)) == choice.ranked[:2]
    assert sum(choice.top(2).values()) == pytest.approx(1.0)
    assert choice.top(1) == {choice.expert: 1.0}
