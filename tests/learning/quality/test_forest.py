"""Packed trees say what the trees of the library say."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from crew_moe.learning.quality.boosting import Boosting, grown

FEW = Boosting(trees=12, leaves=5)


def test_the_level_and_the_differences_are_learned() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(600, 4))
    level = np.where(rows[:, 0] > 0, 0.3, -0.3)
    apart = np.where(rows[:, 1] > 0, 0.1, -0.1)
    wanted = np.stack([level + apart, level - apart], axis=1)

    said = grown(rows, wanted, 0, Boosting(trees=60, step=0.15, features=1.0)).predict(rows)

    assert said.shape == (600, 3)
    assert np.corrcoef(said[:, -1], level)[0, 1] > 0.98
    assert np.corrcoef(said[:, 0], apart)[0, 1] > 0.98
    assert np.abs(said[:, 0] + said[:, 1]).max() < 1e-9
    assert np.abs(said[:, -1] - level).mean() < 0.05


def test_rows_are_predicted_alike_alone_and_together() -> None:
    rng = np.random.default_rng(1)
    rows, wanted = rng.normal(size=(400, 6)), rng.normal(size=(400, 3))
    forest = grown(rows, wanted, 0, FEW)

    together = forest.predict(rows)

    assert together.shape == (400, 4)
    np.testing.assert_allclose(together[7:8], forest.predict(rows[7:8]))
    assert forest.predict(rows[:0]).shape == (0, 4)


def test_one_expert_has_a_level_and_no_differences() -> None:
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(200, 3))

    said = grown(rows, (rows[:, :1] > 0).astype(np.float64), 0, FEW).predict(rows)

    assert said.shape == (200, 2)
    assert not said[:, 0].any()
