"""A gate with its figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crew_moe.errors import InvalidInput
from crew_moe.local_gate.gate.gate import packaged, packaged_lessons
from crew_moe.local_gate.gate.lessons import Example, Lessons
from crew_moe.local_gate.gate.schooling import FOLDS, gate_of, schooled
from tests.local_gate.gate.given import QUICK, small_lessons


def test_figures_are_of_lessons_that_were_held_out() -> None:
    heard: list[str] = []

    network, figures = schooled(small_lessons(), QUICK, step=heard.append)

    assert (figures.rows, figures.accuracy) == (24, 1.0)
    assert figures.accuracy_by_expert == {"marked": 1.0, "plain": 1.0}
    assert network.temperature == figures.temperature
    assert len(heard) == FOLDS + 1


def test_texts_of_one_cluster_are_held_out_together() -> None:
    words = ("apple", "river", "stone", "cloud", "horse", "table", "music", "paper", "chair", "night", "bread", "storm")
    texts = [Example(text=word, expert="ab"[n % 2], cluster=word) for n, word in enumerate(words) for _ in range(4)]

    _, figures = schooled(Lessons.of(texts), replace(QUICK, steps=100))

    assert figures.accuracy < 0.9  # a word says nothing of another one; had each been seen, it would be 1


def test_same_text_is_of_one_cluster_wherever_it_comes_from() -> None:
    one, two = Example(text="one", expert="ab"), Example(text="two", expert="ab")

    clusters = Lessons.of([one]).plus(Lessons.of([two, one, replace(one, expert="cd")])).clusters

    assert clusters[0] == clusters[2]
    assert len(set(clusters)) == 3


def test_expert_with_one_example_can_not_be_held_out() -> None:
    single = Lessons.of([Example(text="one", expert="lonely")])

    with pytest.raises(InvalidInput, match="'lonely' has 1 example"):
        schooled(small_lessons().plus(single), QUICK)


def test_gate_says_what_it_learned_from() -> None:
    told = gate_of(small_lessons(), {"here": 24}, QUICK).provenance

    assert told["lessons"] == {"here": 24}
    assert told["rows"] == {"marked": 12, "plain": 12}
    assert told["recipe"]["steps"] == QUICK.steps
    assert told["content"] == small_lessons().digest() != small_lessons(11).digest()


def test_packaged_gate_can_be_made_again_from_its_lessons() -> None:
    lessons = packaged_lessons()
    recipe = replace(QUICK, hidden=24, steps=150, batch=48)

    network, figures = schooled(lessons, recipe, folds=2)

    ours, theirs = (one.logits(lessons.vectors).argmax(1) for one in (network, packaged().network))
    assert figures.accuracy > 0.85
    assert np.mean(ours == theirs) > 0.97
