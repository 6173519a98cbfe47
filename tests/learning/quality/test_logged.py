"""Learning from a decision log."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from crew_moe.errors import InvalidInput
from crew_moe.learning.quality import discovery
from crew_moe.learning.quality.logged import read_logged
from crew_moe.learning.quality.table import Table
from crew_moe.learning.quality_model import QualityModel, fit
from tests.learning.explored_log import EXPERTS, QUALITY, TASKS, explored_log
from tests.learning.quality.graded import folds


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Judged requests of seven lengths, otherwise alike but for their task."""
    _, url = explored_log(tmp_path_factory.mktemp("log"), 160)
    return read_logged(url)


def test_a_log_teaches_what_experts_are_worth_at_each_task(table: Table, tmp_path: Path) -> None:
    with folds(2):
        model = fit([table]).save(tmp_path / "model")

    assert set(table.labels) == set(TASKS)
    assert (~np.isnan(table.quality)).sum(axis=1).tolist() == [1] * len(table)
    assert set(model.experts) == set(EXPERTS)
    for task in TASKS:
        found = dict(
            zip(model.experts, QualityModel.load(tmp_path / "model").predict("x" * 42, task).quality, strict=True)
        )
        assert found == pytest.approx(dict(zip(EXPERTS, QUALITY[task], strict=True)), abs=0.12)


def test_there_are_no_more_clusters_than_distinct_requests(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "CLUSTER_ROWS", 5)

    with folds(2):
        (told,) = fit([table]).provenance["parts"]

    assert len(TASKS) <= told["tasks"] <= 7 * len(TASKS)


def test_too_few_judged_decisions_are_told(tmp_path: Path) -> None:
    _, url = explored_log(tmp_path, 20)

    with pytest.raises(InvalidInput, match="are too few to learn from"):
        read_logged(url)
