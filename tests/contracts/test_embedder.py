"""What every Embedder does: the same row of length 1 for the same text, alone and among others."""

from __future__ import annotations

import numpy as np
import pytest

from crew_moe.learning.quality.embedding import load_embedder
from crew_moe.ports import Embedder
from tests.learning.quality.embedders import EMBEDDERS

TEXTS = ("Who wrote it?", "def f(): pass", "日本語", "", "Who wrote it?", "x" * 9_000)


@pytest.fixture(params=["Parity", "INSTANCE", "made"])
def embedder(request: pytest.FixtureRequest) -> Embedder:
    return load_embedder(f"{EMBEDDERS}:{request.param}", file="test").embedder


def test_each_text_has_a_row_of_length_one(embedder: Embedder) -> None:
    found = embedder.embed(TEXTS)

    assert found.dtype == np.float32
    assert found.shape == (len(TEXTS), found.shape[1])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-3)


def test_the_same_text_has_the_same_row_alone_and_among_others(embedder: Embedder) -> None:
    found = embedder.embed(TEXTS)

    np.testing.assert_array_equal(found[0], found[4])
    for number, text in enumerate(TEXTS):
        np.testing.assert_allclose(embedder.embed([text])[0], found[number], atol=1e-6)


def test_the_version_is_a_name(embedder: Embedder) -> None:
    assert isinstance(embedder.version, str)
    assert embedder.version
    assert embedder.version == embedder.version.strip()
