"""A quality model with an embedder of one's own: it is found by name, it counts, and no decision needs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from crew_moe import Decision, Router, RoutingRequest
from crew_moe.errors import ConfigError, InvalidInput
from crew_moe.learning.quality.embedding import NamedEmbedder, batches, load_embedder
from crew_moe.learning.quality.table import Table, read_tables
from crew_moe.learning.quality_model import QualityModel, fit
from crew_moe.screening.dataset import write_rows
from crew_moe.telemetry.events import Recorder
from tests.learning.quality.embedders import EMBEDDERS, Failing, Fewer, Long, Newer, Parity, odd
from tests.learning.quality.graded import folds, graded_rows

SMALL, LARGE = "gpt-4o-mini", "gpt-5"  # right where the letters add up to an odd number, and to an even one
ODD, EVEN = "What is 12 + 40 * 8?", "What is 12 + 40 * 7?"
OWN = "own_embedder"
POLICY = f"""
strategy: learned
access: [{{name: two, only: {{ids: [{SMALL}, {LARGE}]}}}}]
learning: {{model: model}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """A configuration whose model reads an embedder beside policy.yaml; the table, and the model."""

    folder: Path
    table: Table
    model: QualityModel


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Learned]:
    folder, before = tmp_path_factory.mktemp("config"), list(sys.path)
    (folder / f"{OWN}.py").write_text(f"from {EMBEDDERS} import Parity\n\nclass Own(Parity): pass\n", encoding="utf-8")
    (folder / "policy.yaml").write_text(POLICY, encoding="utf-8")
    rows = graded_rows(120)
    worth = [{f"q:{SMALL}": float(odd(row["prompt"])), f"q:{LARGE}": float(not odd(row["prompt"]))} for row in rows]
    graded = [{"prompt": row["prompt"], **one} for row, one in zip(rows, worth, strict=True)]
    write_rows(folder / "graded.jsonl", graded)
    (table,) = read_tables(folder / "graded.jsonl", None)
    own = load_embedder(f"{OWN}:Own", file="test", folder=folder)
    with folds(2):
        model = fit([table], embedder=own).save(folder / "model")
    yield Learned(folder=folder, table=table, model=model)
    sys.path[:] = before
    sys.modules.pop(OWN, None)


def _failing(model: QualityModel) -> QualityModel:
    return replace(model, embedder=NamedEmbedder(name="x", version="1", embedder=Failing()))


def _about(text: str) -> RoutingRequest:
    return RoutingRequest(task_type="analysis", text=text)


def test_what_words_do_not_tell_is_learned_from_the_embedder(learned: Learned) -> None:
    (told,) = learned.model.provenance["parts"]

    assert told["held_out"]["explained_variance"] > told["without_embedder"]["explained_variance"] + 0.5
    assert told["weights"]["differences"]["embedding"] > 0.8
    for text in (ODD, EVEN):
        small, large = learned.model.predict(text).quality
        assert (small > large + 0.5, large > small + 0.5) == (odd(text), not odd(text))


def test_the_files_say_which_embedder_it_was(learned: Learned) -> None:
    told = json.loads((learned.folder / "model" / "quality.json").read_text(encoding="utf-8"))

    assert told["embedder"] == {"name": f"{OWN}:Own", "version": "parity-1", "dimensions": 5}


def test_a_model_finds_its_embedder_again(learned: Learned) -> None:
    by_name = QualityModel.load(learned.folder / "model")
    given = QualityModel.load(learned.folder / "model", Parity())

    for model in (by_name, given):
        assert model.version == learned.model.version
        np.testing.assert_array_equal(model.predict(ODD).quality, learned.model.predict(ODD).quality)


def test_without_its_vectors_it_predicts_as_if_it_had_learned_without(learned: Learned) -> None:
    with folds(2):
        plain = fit([learned.table])
    broken = _failing(learned.model).predict_many([ODD, EVEN])

    assert broken.failed == "RuntimeError"
    np.testing.assert_allclose(broken.quality, plain.predict_many([ODD, EVEN]).quality, atol=1e-3)
    assert learned.model.predict(ODD).failed == plain.predict(ODD).failed == ""


@pytest.mark.parametrize("kind", [Long, Fewer])
def test_rows_that_are_not_as_promised_have_no_say(learned: Learned, kind: type[Parity]) -> None:
    odd_one = replace(learned.model, embedder=NamedEmbedder(name="x", version="1", embedder=kind()))

    assert odd_one.predict(ODD).failed == "InvalidInput"
    np.testing.assert_array_equal(odd_one.predict(ODD).quality, _failing(learned.model).predict(ODD).quality)


@pytest.mark.parametrize(
    ("kind", "told"),
    [(Long, "length is not 1"), (Fewer, r"gave \(119, 5\) for \(120, 5\)"), (Failing, "failed: RuntimeError$")],
)
def test_nothing_is_learned_from_an_embedder_that_fails(learned: Learned, kind: type[Parity], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        fit([learned.table], embedder=load_embedder(f"{EMBEDDERS}:{kind.__name__}", file="test"))


def test_many_texts_are_read_in_batches() -> None:
    steps: list[str] = []

    found = load_embedder(f"{EMBEDDERS}:made", file="test").read([str(number) for number in range(600)], steps.append)

    assert found.shape == (600, 5)
    assert len(steps) == batches(600) == 3


def test_another_version_is_refused(learned: Learned) -> None:
    with pytest.raises(ConfigError, match=rf"'parity-1' of '{OWN}:Own', and this is 'parity-2'.*--embedder {OWN}:Own"):
        QualityModel.load(learned.folder / "model", Newer())


def test_a_model_whose_embedder_is_gone_is_refused(learned: Learned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, OWN)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one != str(learned.folder)])

    with pytest.raises(ConfigError, match=rf"quality.json: embedder: the module '{OWN}' can't be imported"):
        QualityModel.load(learned.folder / "model")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (f"{EMBEDDERS}:Party", "did you mean 'Parity'"),
        (f"{EMBEDDERS}", "allowed: module:object"),
        ("no_such_module:Parity", "can't be imported: ModuleNotFoundError"),
        (f"{EMBEDDERS}:NOTHING", r"it needs embed\(texts\) and a version"),
        (f"{EMBEDDERS}:Lost", "a version that is a str; OSError: no weights"),
        (f"{EMBEDDERS}:needs", "can't be made without arguments: TypeError"),
        (f"{EMBEDDERS}:odd", "can't be made without arguments: TypeError"),
    ],
)
def test_what_is_no_embedder_is_told(name: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_embedder(name, file="--embedder")


def test_a_router_goes_by_the_embedder_and_decides_without(learned: Learned, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = Recorder()
    with Router.from_config(learned.folder, state=":memory:", sink=sink) as router:
        found = [router.decide(_about(text)) for text in (ODD, EVEN)]
        monkeypatch.setattr(sys.modules[OWN].Own, "embed", Failing.embed)
        without = router.decide(_about(ODD))

    assert [one.expert_id for one in found if isinstance(one, Decision)] == [SMALL, LARGE]
    assert isinstance(without, Decision)
    failed = [fields for name, fields in sink.events if name == "embedder_failed"]
    assert failed == [{"model": learned.model.version, "error": "RuntimeError"}]
