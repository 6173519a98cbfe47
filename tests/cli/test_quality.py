"""`crew-moe quality`."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from crew_moe.screening.dataset import read_rows, write_rows
from tests.cli.conftest import Cli
from tests.learning.explored_log import explored_log
from tests.learning.quality.embedders import EMBEDDERS, Failing, Parity
from tests.learning.quality.graded import folds, graded_file, graded_rows


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return graded_file(tmp_path_factory.mktemp("graded") / "graded.jsonl", 120)


def test_what_was_fitted_predicts_and_routes(cli: Cli, data: Path, tmp_path: Path) -> None:
    model, out = tmp_path / "model", tmp_path / "out.csv"
    truth = graded_file(tmp_path / "truth.jsonl", 100, seed=1)

    fitted = cli("quality", "fit", "--data", data, "--labels", "dataset", "--out", model, "--json")
    predicted = cli("quality", "predict", "--model", model, "--data", truth, "--out", out)
    judged = cli("quality", "score", "--data", truth, "--pred", out, "--pair", "small", "large", "--json")

    assert (fitted.code, predicted.code, judged.code) == (0, 0, 0), fitted.err + predicted.err + judged.err
    assert fitted.json["experts"] == ["large", "small"]
    assert fitted.json["parts"][0]["labels"] == ["facts", "sums"]
    assert list(read_rows(out, ())[0]) == ["query_id", "p:large", "p:small", "k:large", "k:small"]
    assert judged.json["costs"] == "predicted"
    assert judged.json["pair"]["apgr"] > 0.6
    assert judged.json["aiq_gap_closed"] > 0.2


def test_an_embedder_is_named_once(cli: Cli, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, out, named = tmp_path / "model", tmp_path / "out.csv", f"{EMBEDDERS}:Parity"

    with folds(2):
        fitted = cli("quality", "fit", "--data", data, "--embedder", named, "--out", model, "--json")
    predicted = cli("quality", "predict", "--model", model, "--data", data, "--out", out)
    monkeypatch.setattr(Parity, "embed", Failing.embed)
    broken = cli("quality", "predict", "--model", model, "--data", data, "--out", out, "--json")

    assert (fitted.code, predicted.code, broken.code) == (0, 0, 0), fitted.err + predicted.err + broken.err
    assert fitted.json["embedder"] == {"name": named, "version": "parity-1", "dimensions": 5}
    assert predicted.err == ""
    assert broken.err == "the embedder failed at 120 texts (RuntimeError): they are predicted without it\n"
    assert broken.json["rows"] == 120


def test_a_folder_is_fitted_whole_and_predicted_by_texts_alone(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "graded"
    folder.mkdir()
    write_rows(folder / "one.jsonl", graded_rows(60))
    write_rows(folder / "two.csv", graded_rows(60, seed=2))
    texts = tmp_path / "texts.jsonl"
    write_rows(texts, [{"query_id": 7, "text": "Who wrote it?"}])

    with folds(2):
        fitted = cli("quality", "fit", "--data", folder, "--out", tmp_path / "model.npz")
    done = cli("quality", "predict", "--model", tmp_path / "model.npz", "--data", texts, "--out", tmp_path / "p.jsonl")

    assert "120" in fitted.out
    assert "knows 2 experts" in fitted.out
    assert "1 texts predicted" in done.out
    assert read_rows(tmp_path / "p.jsonl", ())[0]["query_id"] == 7


def test_a_log_is_learned_from(cli: Cli, tmp_path: Path) -> None:
    _, url = explored_log(tmp_path, 100)

    with folds(2):
        done = cli("quality", "fit", "--from-log", url, "--out", tmp_path / "model", "--json")

    assert done.code == 0, done.err
    assert done.json["parts"][0]["source"] == "sqlite decision log"


def test_figures_are_shown_as_a_table(cli: Cli, data: Path, tmp_path: Path) -> None:
    said = tmp_path / "said.jsonl"
    rows = read_rows(data, ())
    write_rows(said, [{"query_id": row["query_id"], "p:small": 0.5, "p:large": 0.6} for row in rows])

    done = cli("quality", "score", "--data", data, "--pred", said, "--where", "dataset=sums")

    assert done.code == 0, done.err
    assert "quality at zero cost weight" in done.out
    assert "means of the data itself" in done.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("fit", "--out", "m"), "give one of them; allowed: --data PATH, --from-log URL"),
        (("fit", "--data", "{data}", "--labels", "datasets", "--out", "m"), "did you mean 'dataset'"),
        (("fit", "--data", "{data}", "--labels", "query_id", "--out", "m"), "too many for tasks"),
        (("fit", "--data", "nowhere.csv", "--out", "m"), "there is no such file"),
        (("fit", "--from-log", ":memory:", "--out", "m"), "no decision log"),
        (("fit", "--from-log", "sqlite:///x.db", "--labels", "a", "--out", "m"), "a log's tasks are its task types"),
        (("fit", "--from-log", "sqlite:///x.db", "--embedder", "a:b", "--out", "m"), "a log holds no text to embed"),
        (("fit", "--data", "{data}", "--embedder", "a", "--out", "m"), "--embedder: 'a' names no object of a module"),
        (("predict", "--model", "nowhere", "--data", "{data}", "--out", "p.csv"), "a quality model is two files"),
        (("score", "--data", "{data}", "--pred", "{data}"), "the column 'p:small' is missing"),
        (("score", "--data", "{data}", "--pred", "{data}", "--where", "dataset"), "'dataset' is no condition"),
    ],
)
def test_bad_input_is_one_line(
    cli: Cli, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], told: str
) -> None:
    monkeypatch.chdir(tmp_path)

    done = cli("quality", *(one.replace("{data}", str(data)) for one in arguments))

    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"q:small": 1.5}, "row 1: q:small: 1.5 can't be; allowed: a number from 0 to 1"),
        ({"q:small": "good"}, "'good' can't be"),
        ({"c:small": -1}, "a number of 0 or more"),
        ({"prompt": None}, "'prompt' is not text"),
    ],
)
def test_a_wrong_cell_is_named(cli: Cli, tmp_path: Path, change: dict[str, object], told: str) -> None:
    first, *rest = graded_rows(60)
    write_rows(tmp_path / "graded.jsonl", [{**first, **change}, *rest])

    done = cli("quality", "fit", "--data", tmp_path / "graded.jsonl", "--out", tmp_path / "model")

    assert done.code == 2
    assert told in done.err
    assert not (tmp_path / "model").exists()
