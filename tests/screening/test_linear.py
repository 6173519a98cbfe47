"""A model's score, its files, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.screening import THRESHOLD, Concern
from crew_moe.errors import InvalidInput
from crew_moe.screening.features import DIMENSIONS, features
from crew_moe.screening.linear import FOLDER, LinearModel


def small(threshold: float = 1.0) -> LinearModel:
    ngrams = np.zeros(DIMENSIONS, dtype=np.float32)
    ngrams[features("abcd", ()).words] = 2.0
    return LinearModel(concern=Concern.INJECTION, ngrams=ngrams, patterns={"one": 0.5}, bias=-1.0, threshold=threshold)


def test_logit_adds_bias_ngrams_and_patterns() -> None:
    model, weights = small(), np.array([0.5], dtype=np.float32)
    plain = features("abcd", ())
    assert model.logit(plain, weights) == pytest.approx(1.0)
    assert model.logit(features("", ()), weights) == -1.0


def test_score_is_a_half_at_the_threshold() -> None:
    assert small(threshold=3.0).score(3.0) == THRESHOLD


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_score_is_monotone_and_between_zero_and_one(one: float, other: float) -> None:
    low, high = sorted((one, other))

    assert 0.0 <= small().score(low) <= small().score(high) <= 1.0


def test_saved_model_is_loaded_and_written_again_alike(tmp_path: Path) -> None:
    small().save(tmp_path)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    loaded = LinearModel.load(Concern.INJECTION, tmp_path)
    loaded.save(tmp_path)

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
    assert np.array_equal(loaded.ngrams, small().ngrams)
    assert loaded.version.startswith("injection-linear@")


def _threshold(folder: Path) -> None:
    path = folder / "injection.json"
    path.write_text(path.read_text().replace('"threshold": 1.0', '"threshold": 99.0'))


def _weight(folder: Path) -> None:
    path = folder / "injection.npz"
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def _garbage(folder: Path) -> None:
    (folder / "injection.json").write_text("{")


def _list(folder: Path) -> None:
    (folder / "injection.json").write_text("[]")


def _absent(folder: Path) -> None:
    (folder / "injection.npz").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_threshold, "was changed after training"),
        (_weight, "does not hold the weights that were trained"),
        (_garbage, "is not JSON"),
        (_list, "was changed after training"),
        (_absent, "can't be read"),
    ],
)
def test_tampered_model_is_not_loaded(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    small().save(tmp_path)
    damage(tmp_path)

    with pytest.raises(InvalidInput, match=message):
        LinearModel.load(Concern.INJECTION, tmp_path)


def test_model_of_another_concern_is_refused(tmp_path: Path) -> None:
    small().save(tmp_path)
    for suffix in ("json", "npz"):
        (tmp_path / f"injection.{suffix}").rename(tmp_path / f"toxicity.{suffix}")

    with pytest.raises(InvalidInput, match="is not a model for toxicity"):
        LinearModel.load(Concern.TOXICITY, tmp_path)


@pytest.mark.parametrize("name", ["injection", "toxicity"])
def test_shipped_model_says_where_it_comes_from(name: str) -> None:
    told = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))["provenance"]

    assert {"seed", "sources", "figures", "held_out"} <= told.keys()
    assert [source["source"] for source in told["sources"] if not source["licence"]] == []
