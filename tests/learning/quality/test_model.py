"""The quality model: what it learns of known truth, what it says where it knows nothing, and its files."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
pytest.importorskip("pyarrow", reason="pyarrow is not installed")

from crew_moe.domain.digest import canonical, checksum
from crew_moe.errors import ConfigError, InvalidInput
from crew_moe.learning.quality import discovery
from crew_moe.learning.quality.part import bounded
from crew_moe.learning.quality.sight import see
from crew_moe.learning.quality.table import Table, read_tables
from crew_moe.learning.quality_model import QualityModel, fit
from crew_moe.screening.dataset import write_rows
from tests.learning.quality.graded import COST, WORTH, folds, graded_file, graded_rows

SUM, FACT = "What is 12 + 40 * 7?", "Which river runs through Lisbon?"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    (found,) = read_tables(graded_file(tmp_path_factory.mktemp("graded") / "graded.jsonl"), None)
    return found


@pytest.fixture(scope="module")
def model(table: Table, tmp_path_factory: pytest.TempPathFactory) -> QualityModel:
    with folds(3):
        return fit([table]).save(tmp_path_factory.mktemp("model"))


@pytest.fixture
def few_folds() -> Iterator[None]:
    with folds(3):
        yield


def test_what_experts_are_worth_is_learned_per_kind_of_question(model: QualityModel) -> None:
    for text, kind in ((SUM, "sums"), (FACT, "facts")):
        found = model.predict(text)
        worth = [WORTH[kind][expert_id] for expert_id in model.experts]

        assert model.experts == ("large", "small")
        assert found.familiar
        assert found.quality == pytest.approx(worth, abs=0.15)
        assert ((found.spread > 0) & (found.spread < 0.3)).all()


def test_an_expert_that_nobody_graded_is_not_learned(tmp_path: Path) -> None:
    rows = [{**row, "q:new": None, "c:new": 0.1} for row in graded_rows(60)]
    write_rows(tmp_path / "graded.jsonl", rows)
    write_rows(tmp_path / "none.jsonl", [{"prompt": row["prompt"], "q:new": None} for row in rows])

    (found,) = read_tables(tmp_path / "graded.jsonl", None)

    assert found.experts == ("large", "small")
    assert found.quality.shape == found.cost.shape == (60, 2)
    with pytest.raises(InvalidInput, match="no row has a grade"):
        read_tables(tmp_path / "none.jsonl", None)


def test_a_column_that_names_no_expert_is_refused(tmp_path: Path) -> None:
    write_rows(tmp_path / "graded.jsonl", [{**row, "q:": 1.0} for row in graded_rows(60)])

    with pytest.raises(InvalidInput, match="'q:' names no expert"):
        read_tables(tmp_path / "graded.jsonl", None)


def test_rows_that_stand_twice_are_not_foretold_by_themselves(tmp_path: Path) -> None:
    rng = random.Random(0)
    rows = [{"prompt": f"Question {n} {rng.random()}", "q:a": float(rng.random() < 0.5)} for n in range(60)]
    write_rows(tmp_path / "graded.jsonl", [*rows, *rows])

    (part,) = fit(read_tables(tmp_path / "graded.jsonl", None)).provenance["parts"]

    assert part["held_out"]["explained_variance"] < 0.05


def test_one_text_over_and_over_can_be_learned_from(tmp_path: Path) -> None:
    write_rows(tmp_path / "graded.jsonl", [{**row, "prompt": "Hello"} for row in graded_rows(60)])

    assert fit(read_tables(tmp_path / "graded.jsonl", None)).experts == ("large", "small")


def test_costs_follow_the_length_of_the_text(model: QualityModel) -> None:
    for text in (SUM, FACT + " And when? And why did it?"):
        expected = [COST[expert_id] * (1 + len(text) / 50) for expert_id in model.experts]

        assert model.predict(text).cost_usd == pytest.approx(expected, rel=0.1)


def test_a_batch_says_what_single_texts_are_told(model: QualityModel) -> None:
    texts = [row["prompt"] for row in graded_rows(40, seed=3)] + ["", "日本"]
    many = model.predict_many(texts)

    for number, text in enumerate(texts):
        one = model.predict(text)
        np.testing.assert_allclose(one.quality, many.quality[number], atol=1e-12)
        assert one.familiar == many.familiar[number]
    assert ((many.quality > 0) & (many.quality < 1)).all()


def test_a_label_that_is_known_outweighs_the_text(model: QualityModel) -> None:
    told, untold = model.predict(FACT, "sums"), model.predict(FACT)

    assert told.quality[0] > told.quality[1]
    assert untold.quality[1] > untold.quality[0]
    np.testing.assert_array_equal(model.predict(FACT, "poetry").quality, untold.quality)


def test_an_unfamiliar_text_is_told_and_less_sure(model: QualityModel) -> None:
    strange = "<html>" + "{};" * 300 + "\n" * 90 + "ÆÅØ" * 50

    found, usual = model.predict(strange), model.predict(SUM)

    assert not found.familiar
    assert (found.spread > usual.spread).all()


def test_an_unfamiliar_text_is_judged_by_its_form_alone(model: QualityModel) -> None:
    (part,) = model.parts
    odd = "What is 12 + 40 * 7? " * 40
    nowhere = QualityModel(parts=(replace(part, farthest=1e-9),))

    form = part.inputs([see(odd)]).form
    expected = bounded(part.mean + part.elsewhere.say(form))[0]

    np.testing.assert_allclose(nowhere.predict(odd).quality, expected)
    assert abs(expected - nowhere.predict(FACT).quality).max() > 0.01


@pytest.mark.usefixtures("few_folds")
def test_tasks_are_found_without_labels(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    unlabelled = replace(table, labels=("",) * len(table), finer=("",) * len(table))
    monkeypatch.setattr(discovery, "CLUSTER_ROWS", 100)

    found = fit([unlabelled])

    assert found.provenance["parts"][0]["labels"] == []
    assert found.provenance["parts"][0]["tasks"] == 2
    large, small = found.predict(SUM).quality
    assert large - small > 0.3


def test_of_fifty_rows_pure_chance_teaches_little(tmp_path: Path) -> None:
    (few,) = read_tables(graded_file(tmp_path / "few.csv", 50), "none")
    noise = replace(few, quality=np.random.default_rng(1).integers(0, 2, few.quality.shape).astype(np.float64))

    of_noise = fit([noise])
    mean = [of_noise.mean[expert_id] for expert_id in of_noise.experts]
    assert of_noise.predict(SUM).quality == pytest.approx(mean, abs=0.25)


@pytest.mark.usefixtures("few_folds")
def test_cells_without_an_outcome_are_left_out(table: Table) -> None:
    gone = np.random.default_rng(0).random(table.quality.shape) < 0.5
    sparse = replace(table, quality=np.where(gone, np.nan, table.quality), cost=np.full_like(table.cost, np.nan))

    found = fit([sparse]).predict(SUM)

    assert found.quality[0] - found.quality[1] > 0.25
    assert np.isnan(found.cost_usd).all()


@pytest.mark.usefixtures("few_folds")
def test_every_set_of_experts_has_a_part(table: Table, model: QualityModel) -> None:
    (few,) = fit([replace(table.among(range(60)), experts=("large", "other"))]).parts

    both = QualityModel(parts=(replace(few, farthest=1e-9), *model.parts))
    usual = QualityModel(parts=(replace(few, farthest=1e9), *model.parts))

    assert both.experts == ("large", "other", "small")
    assert both.predict(SUM).quality[[0, 2]] == pytest.approx(model.predict(SUM).quality)
    assert usual.predict(SUM).quality[0] == QualityModel(parts=(few,)).predict(SUM).quality[0]
    assert both.predict(SUM).familiar
    assert both.mean["large"] == model.mean["large"]


@pytest.mark.usefixtures("few_folds")
def test_the_same_rows_and_seed_give_the_same_files(table: Table, model: QualityModel, tmp_path: Path) -> None:
    again = fit([table]).save(tmp_path / "again.npz")

    assert again.version == model.version
    assert again.version.startswith("quality@")
    assert QualityModel.load(tmp_path / "again.json").version == again.version


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("quality.npz", b"PK", "does not hold the numbers"),
        ("quality.json", b'{"format": 1, "digest": "00"}', "changed after training"),
        ("quality.json", b"{", "is no JSON"),
        ("quality.json", b"{}", "is not the description of a quality model"),
        ("quality.npz", None, "can't be read"),
    ],
)
def test_a_changed_file_is_not_loaded(
    model: QualityModel, tmp_path: Path, name: str, content: bytes | None, told: str
) -> None:
    model.save(tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(ConfigError, match=told):
        QualityModel.load(tmp_path)


def test_a_model_of_another_version_is_refused(model: QualityModel, tmp_path: Path) -> None:
    model.save(tmp_path)
    document = json.loads((tmp_path / "quality.json").read_text(encoding="utf-8"))
    other = {**{name: value for name, value in document.items() if name != "digest"}, "format": 99}
    written = json.dumps({**other, "digest": checksum(canonical(other))})
    (tmp_path / "quality.json").write_text(written, encoding="utf-8")

    with pytest.raises(ConfigError, match="crew-moe quality fit"):
        QualityModel.load(tmp_path)


def test_what_lies_beyond_the_ends_keeps_its_order() -> None:
    wild = np.array([-0.4, -0.01, 0.01, 0.3, 0.985, 1.0, 1.02])

    assert (np.diff(bounded(wild)) > 0).all()
    assert ((bounded(wild) >= 0) & (bounded(wild) <= 1)).all()
