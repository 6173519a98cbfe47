"""`crew-moe local route` and `crew-moe local train-gate`."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from crew_moe.local_gate.features import features
from crew_moe.local_gate.gate.file import GateFile
from crew_moe.local_gate.gate.log import correction_row, named_row
from crew_moe.state import open_log
from tests.cli.conftest import Cli

PROMPTS = ("SELECT a FROM t WHERE b = 1;", "INSERT INTO t (a, b) VALUES (1, 2);", "DELETE FROM t WHERE a = 3;")


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(raw))
    return raw


def test_route_shows_the_choice_and_what_was_looked_at(cli: Cli) -> None:
    done = cli("local", "route", "Where should we go on holiday with two children?")

    assert done.code == 0, done.err
    assert done.out.startswith("extractive: confidence 0.")
    for word in ("byt5", "longformer", "vocabulary_diversity", "Gate: gate@"):
        assert word in done.out


def test_route_as_json_has_probabilities_and_features(cli: Cli) -> None:
    told = cli("local", "route", r"Explain ^\d+-[a-z]{2}$ please", "--json").json

    assert told["expert"] == told["ranked"][0] == "byt5"
    assert told["probabilities"].keys() == {"byt5", "extractive", "longformer"}
    assert told["input_features"]["chars"] == 29
    assert told["gate"].startswith("gate@")


def test_route_reads_a_file_and_stdin(cli: Cli, tmp_path: Path, stdin: io.BytesIO) -> None:
    text = "What is new?\n" * 40_000
    (tmp_path / "long.txt").write_text(text)
    stdin.write(text.encode())
    stdin.seek(0)

    of_file, of_stdin = (cli("local", "route", "--file", one, "--json") for one in (tmp_path / "long.txt", "-"))

    assert of_file.json["input_features"]["chars"] == len(text)
    assert of_stdin.json == of_file.json


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "TEXT or --file: give one of them"),
        (("hello", "--file", "x"), "TEXT or --file: give one of them"),
        (("  ",), "TEXT: there is no text in it"),
        (("--file", "absent.txt"), "absent.txt: can't be read (No such file or directory)"),
    ],
)
def test_route_without_a_text_is_refused(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    done = cli("local", "route", *arguments)

    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_route_refuses_what_is_no_text(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "image.bin").write_bytes(b"\x89PNG\xff\xfe\x00")

    done = cli("local", "route", "--file", tmp_path / "image.bin")

    assert done.code == 2
    assert "is not UTF-8 text" in done.err


def test_route_keeps_to_experts_that_take_so_long_a_text(cli: Cli, tmp_path: Path) -> None:
    lines = "experts:\n  extractive: {max_input_chars: 50}\n  byt5: null\n  longformer: {max_input_chars: 90}\n"
    (tmp_path / "local.yaml").write_text(lines)

    long, longer = (cli("local", "route", "word " * count, "--config", tmp_path, "--json") for count in (15, 20))

    assert long.json["ranked"] == ["longformer"]
    assert longer.code == 2
    assert "100 characters are more than any hosted expert takes" in longer.err


def test_expert_of_ones_own_is_learned_once_by_its_examples(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREW_MOE_MODELS", str(tmp_path / "models"))
    own = {"kind": "vllm", "base_url": "http://127.0.0.1:9/v1", "model": "coder", "examples": list(PROMPTS)}
    (tmp_path / "local.yaml").write_text(json.dumps({"experts": {"sql": own}}))

    first, second = (cli("local", "route", "DELETE FROM u WHERE b < 4;", "--config", tmp_path) for _ in range(2))

    assert first.out.startswith("sql: confidence 0."), first.err
    assert second.out == first.out
    assert len(list((tmp_path / "models" / "gates").iterdir())) == 1


def examples(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_gate_is_trained_told_of_and_used(cli: Cli, tmp_path: Path) -> None:
    rows = [json.dumps({"text": text.replace("t", name), "expert": "sql"}) for text in PROMPTS for name in ("t", "u")]
    url = f"sqlite:///{tmp_path}/state.db"
    log = open_log(url)
    log.append("d1", lambda: named_row("d1", "byt5", features("x == y")))
    log.append("d1/correction", lambda: correction_row("d1", "sql"))
    log.close()
    file, out = examples(tmp_path / "sql.jsonl", *rows), tmp_path / "gate"

    done = cli("local", "train-gate", "--examples", file, "--from-log", url, "--out", out, "--json")

    assert done.code == 0, done.err
    assert done.json["lessons"] == {"packaged": sum(done.json["rows"].values()) - 7, "sql.jsonl": 6, "decision log": 1}
    assert done.json["rows"]["sql"] == 7
    assert done.json["figures"]["accuracy"] > 0.9
    assert GateFile.load(out).version == done.json["gate"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: is no JSON"),
        ('{"text": "a"}', 'line 2: must be {"text": ..., "expert": ...} and nothing else'),
        ('["a"]', "line 2: must be"),
        ('{"text": "", "expert": "x"}', "line 2: 'text' must be a text that is not empty"),
        ('{"text": "a", "expert": 7}', "line 2: 'expert' must be a text"),
    ],
)
def test_bad_example_is_named_by_file_and_line(cli: Cli, tmp_path: Path, line: str, message: str) -> None:
    file = examples(tmp_path / "some.jsonl", '{"text": "fine", "expert": "x"}', line)

    done = cli("local", "train-gate", "--examples", file, "--out", tmp_path / "gate")

    assert done.code == 2
    assert f"some.jsonl: {message}" in done.err
    assert not (tmp_path / "gate").exists()


def test_expert_with_a_single_example_is_refused(cli: Cli, tmp_path: Path) -> None:
    file = examples(tmp_path / "one.jsonl", '{"text": "fine", "expert": "lonely"}')

    done = cli("local", "train-gate", "--examples", file, "--out", tmp_path / "gate")

    assert done.code == 2
    assert "'lonely' has 1 example; allowed: 2 or more" in done.err


def test_log_in_memory_can_not_be_learned_from(cli: Cli, tmp_path: Path) -> None:
    done = cli("local", "train-gate", "--from-log", ":memory:", "--out", tmp_path / "gate")

    assert done.code == 2
    assert "needs a state that outlives this command" in done.err


def test_files_of_the_same_name_are_learned_from_both(cli: Cli, tmp_path: Path) -> None:
    files = []
    for folder, text in (("first", "knit one, purl two"), ("second", "cast on forty stitches")):
        (tmp_path / folder).mkdir()
        row = json.dumps({"text": text, "expert": "knitting"})
        files += ["--examples", examples(tmp_path / folder / "examples.jsonl", row)]

    done = cli("local", "train-gate", *files, "--out", tmp_path / "gate", "--json")

    assert done.code == 0, done.err
    assert done.json["lessons"]["examples.jsonl"] == done.json["rows"]["knitting"] == 2


def test_trained_gate_is_told_by_a_path_that_holds_anywhere(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")

    done = cli("local", "train-gate", "--out", "mine")

    assert f"gate: {{model: {tmp_path / 'mine'}}}" in done.out
    assert "They came from: packaged " in done.out


def test_route_among_nobody_says_that_nobody_is_hosted(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "local.yaml").write_text("experts: {byt5: null, longformer: null, extractive: null}\n")

    done = cli("local", "route", "hello", "--config", tmp_path)

    assert done.code == 2
    assert "local.yaml: experts: no expert is hosted" in done.err
