"""Training: deterministic, judged on what was not seen, and told where its data came from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crew_moe.domain.screening import Concern
from crew_moe.errors import InvalidInput, MissingExtra
from crew_moe.screening import lessons, training
from crew_moe.screening.recipes import RECIPES
from crew_moe.screening.training import FOLDS, Trained, assessed, train
from tests.screening.given import EVIL, GOOD, examples

pytest.importorskip("sklearn")
RECIPE = replace(RECIPES[Concern.INJECTION], own=(), limits={"benign_ordinary": 0.02})


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train(RECIPE, examples())


def test_what_can_be_learned_is_learned(trained: Trained) -> None:
    assert trained.held_out.figures()["auroc"]["all"] == 1.0


def test_learned_model_judges_new_texts(trained: Trained) -> None:
    detector = RECIPE.detector(trained.model)

    assert detector.assess(" ".join(EVIL[:5])).flagged
    assert not detector.assess(" ".join(GOOD[:5])).flagged


def test_same_data_and_seed_give_the_same_files(trained: Trained, tmp_path: Path) -> None:
    for name, model in (("one", trained.model), ("two", train(RECIPE, examples()).model)):
        (tmp_path / name).mkdir()
        model.save(tmp_path / name)

    for file in ("injection.json", "injection.npz"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_threshold_keeps_its_limit_on_held_out_texts(trained: Trained) -> None:
    rates = trained.held_out.figures()["at_shipped_threshold"]

    assert rates["fpr_ordinary"] <= 0.02


def test_provenance_names_sources_rows_and_licences(trained: Trained) -> None:
    assert trained.model.provenance["sources"] == [
        {"source": "tiny", "rows": 60, "positive": 30, "licence": "not stated"}
    ]


def test_steps_are_told_one_by_one() -> None:
    steps: list[str] = []

    train(RECIPE, examples(), step=steps.append)

    assert len(steps) == FOLDS + 1


def test_near_duplicates_stay_in_one_fold() -> None:
    """Two texts of one cluster and different words: whoever had seen one would not know the other."""
    given = [replace(one, cluster="same") for one in examples(4)]

    folds = {training._fold_of(one, 0) for one in given}

    assert len(folds) == 1


def test_detector_is_measured_on_given_texts(trained: Trained) -> None:
    judged = assessed(RECIPE, RECIPE.detector(trained.model), examples(20, seed=8))

    assert judged.figures()["auroc"]["all"] == 1.0
    assert np.all((judged.scores >= 0) & (judged.scores <= 1))


@pytest.mark.parametrize(
    ("label", "ordinary", "message"), [(0, "benign_ordinary", "both labels"), (None, "other", "no text of category")]
)
def test_data_that_can_not_teach_is_refused(label: int | None, ordinary: str, message: str) -> None:
    given = [one for one in examples(ordinary=ordinary) if label is None or one.label == label]

    with pytest.raises(InvalidInput, match=message):
        train(RECIPE, given)


def test_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name=name)

    monkeypatch.setattr(lessons, "import_module", absent)

    with pytest.raises(MissingExtra, match=r"crew-moe\[learn\]"):
        train(RECIPE, examples())
