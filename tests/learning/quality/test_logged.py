"""Learning from a decision log."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from crew_moe.errors import InvalidInput
from crew_moe.learning.quality.logged import read_logged
from crew_moe.learning.quality_model import QualityModel, fit
from tests.learning.explored_log import EXPERTS, QUALITY, TASKS, explored_log


def test_a_log_teaches_what_experts_are_worth_at_each_task(tmp_path: Path) -> None:
    _, url = explored_log(tmp_path, 240)

    table = read_logged(url)
    model = fit([table]).save(tmp_path / "model")

    assert set(table.labels) == set(TASKS)
    assert (~np.isnan(table.quality)).sum(axis=1).tolist() == [1] * len(table)
    assert set(model.experts) == set(EXPERTS)
    for task in TASKS:
        found = dict(
            zip(model.experts, QualityModel.load(tmp_path / "model").predict("x" * 42, task).quality, strict=True)
        )
        assert found == pytest.approx(dict(zip(EXPERTS, QUALITY[task], strict=True)), abs=0.12)


def test_too_few_judged_decisions_are_told(tmp_path: Path) -> None:
    _, url = explored_log(tmp_path, 20)

    with pytest.raises(InvalidInput, match="are too few to learn from"):
        read_logged(url)
