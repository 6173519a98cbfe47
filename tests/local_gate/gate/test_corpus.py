"""The packaged lessons: what they are made of, and what they must not hold."""

from __future__ import annotations

import re
from collections import Counter
from difflib import SequenceMatcher

import pytest

from crew_moe.local_gate.gate.corpus import packaged_examples
from crew_moe.local_gate.gate.lessons import Example
from crew_moe.local_gate.gate.schooling import FOLDS
from tests.local_gate.gate.held_out import ASKS, AUTO, BYT5


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return list(packaged_examples())


def test_lessons_are_the_same_for_the_same_seed(examples: list[Example]) -> None:
    assert list(packaged_examples()) == examples
    assert list(packaged_examples(seed=1)) != examples


def test_each_expert_has_lessons_of_many_templates(examples: list[Example]) -> None:
    clusters = Counter(expert for expert, _ in {(one.expert, one.cluster) for one in examples})

    assert clusters.keys() == {"byt5", "extractive", "longformer"}
    assert min(clusters["byt5"], clusters["extractive"]) >= 30
    assert clusters["longformer"] >= 2 * FOLDS


def test_documents_that_are_held_out_have_no_sentence_of_those_that_are_not(examples: list[Example]) -> None:
    clusters: dict[str, set[str]] = {}
    for one in (one for one in examples if one.expert == "longformer"):
        for sentence in (piece for piece in re.split(r"[.\n]", one.text) if len(piece) > 40):
            clusters.setdefault(sentence, set()).add(one.cluster)

    assert [sentence for sentence, found in clusters.items() if len(found) > 1] == []


def test_every_slot_is_filled(examples: list[Example]) -> None:
    slots = ("{note", "{thing", "{regex", "{party", "{number", "{tell", "{data", "{module")

    assert [one.text[:80] for one in examples if any(slot in one.text for slot in slots)] == []


def test_texts_have_the_lengths_that_their_experts_are_for(examples: list[Example]) -> None:
    lengths = {name: [len(one.text) for one in examples if one.expert == name] for name in ("byt5", "longformer")}

    assert max(lengths["byt5"]) < 1_000
    assert min(lengths["longformer"]) > 1_800
    assert len({one.text for one in examples}) > 0.97 * len(examples)


@pytest.mark.parametrize("query", [*BYT5, *ASKS.values(), *AUTO])
def test_no_lesson_is_like_a_query_that_is_held_out(examples: list[Example], query: str) -> None:
    fronts = {one.text[: len(query) + 20] for one in examples}
    words = set(query.lower().split())
    near = [front for front in fronts if len(words & set(front.lower().split())) > 0.4 * len(words)]

    assert [front for front in near if SequenceMatcher(None, query, front).ratio() > 0.75] == []
    assert [front for front in fronts if query[:28].lower() in front.lower()] == []
