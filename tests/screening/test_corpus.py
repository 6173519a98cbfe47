"""Our own sentences: filled the same way for the same seed, each with its family."""

from __future__ import annotations

from pathlib import Path

import pytest

from crew_moe.screening.corpus import written

NAMES = ("attacks", "benign", "abuse", "civil")


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_gives_the_same_sentences(name: str) -> None:
    assert written(name, 3) == written(name, 3)
    assert written(name, 3) != written(name, 4)


@pytest.mark.parametrize("name", NAMES)
def test_every_slot_is_filled_and_every_id_unique(name: str) -> None:
    examples = written(name, 0)

    assert [one.text for one in examples if "{name}" in one.text or "{drop}" in one.text or "{group}" in one.text] == []
    assert len({one.id for one in examples}) == len(examples)


def test_slot_keeps_its_word_within_a_text(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(
        "label: 1\nslots: {x: [a, b]}\nfamilies:\n  f: {each: 9, texts: ['{x} {x} {x2} {y}']}\n", encoding="utf-8"
    )

    texts = {one.text for one in written("small", 0, folder=tmp_path)}

    assert texts == {"a a b {y}", "b b a {y}"}
