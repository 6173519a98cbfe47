"""`crew-moe local train-demo`: what it prints, where it writes, and that it says so when it can't."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from crew_moe.local_gate.demo.manifest import read_manifest
from tests.cli.conftest import Cli

SECONDS = ("--minutes", "0.02")


@pytest.fixture
def few_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured on two texts a figure: how well it does is not the question here."""
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("transformers", reason="transformers is not installed")
    monkeypatch.setattr("crew_moe.local_gate.demo.train.PER_CELL", 2)


@pytest.mark.usefixtures("few_texts")
def test_json_is_what_lies_beside_the_weights(cli: Cli, tmp_path: Path) -> None:
    done = cli("local", "train-demo", "--models", tmp_path, "--only", "byt5", *SECONDS, "--seed", "3", "--json")

    told = done.json["byt5"]
    folder = tmp_path / "byt5-demo"
    assert (done.code, done.err) == (0, "")
    assert told.pop("folder") == str(folder)
    assert told == json.loads((folder / "crew_moe.json").read_text(encoding="utf-8"))
    assert set(told["accuracy"]) == set(told["tasks"]) == {"rot13", "html", "plain", "upper"}
    assert told["trained"]["seed"] == 3


@pytest.mark.usefixtures("few_texts")
def test_next_command_is_told_where_the_models_lie(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")

    done = cli("local", "train-demo", "--models", tmp_path, "--only", "byt5", *SECONDS)

    assert f"Next: export CREW_MOE_MODELS={tmp_path}; crew-moe local serve" in done.out
    assert "rouge" not in done.out  # which is of the other model


@pytest.mark.accept
def test_demonstration_learns_what_it_says(cli: Cli, tmp_path: Path) -> None:
    """The whole recipe of the ByT5; minutes on two processors that nobody else uses."""
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("transformers", reason="transformers is not installed")

    done = cli("local", "train-demo", "--models", tmp_path, "--only", "byt5")

    assert (done.code, done.err) == (0, "")
    for told in ("byt5, a demonstration: ", "4 words", "rot13", "crew-moe local serve"):
        assert told in done.out
    manifest = read_manifest(tmp_path / "byt5-demo")
    assert manifest is not None
    figures = [manifest.accuracy["rot13"][words] for words in ("1 word", "2 words", "3 words", "4 words")]
    assert sum(figures) / 4 >= 0.95


def test_models_folder_may_be_named_in_the_environment(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREW_MOE_MODELS", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere" / "longformer-demo").mkdir(parents=True)

    done = cli("local", "train-demo")

    assert done.code == 2
    assert f"{tmp_path}/elsewhere/longformer-demo: is there already; allowed: --force" in done.err
    assert not (tmp_path / "elsewhere" / "byt5-demo").exists()  # nothing was trained in vain


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--only", "byte5"), "--only: 'byte5' is not known; did you mean 'byt5'?"),
        (("--minutes", "0"), "--minutes"),
        (("--minutes", "nan"), "--minutes"),
        (("--seed", "-1"), "--seed"),
    ],
)
def test_wrong_command_is_one_clear_error(cli: Cli, tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    done = cli("local", "train-demo", "--models", tmp_path / "models", *arguments)

    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert not (tmp_path / "models").exists()


def test_missing_library_is_named_with_what_to_install(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # which Python takes for: it is not there

    done = cli("local", "train-demo", "--models", tmp_path / "models")

    assert (done.code, done.out) == (2, "")
    assert done.err == "error: 'torch' is not installed; run: pip install 'crew-moe[local]'\n"
    assert not (tmp_path / "models").exists()
