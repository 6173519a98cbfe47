"""`crew-moe policy evaluate`, on the log of a real router that explored, where the truth is known."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crew_moe.cli.policy_evaluate import EXCUSES
from crew_moe.learning.logged import LeftOut
from crew_moe.simulation import Reason
from crew_moe.state import read_log
from tests.cli.conftest import Cli
from tests.learning.explored_log import candidate, explored_log, ruled

SAFER = ruled(planning="gpt-4o", analysis="claude-haiku-4-5")
FRAIL = ruled(planning="gemini-2.5-flash-lite", analysis="gemini-2.5-flash-lite")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The configuration and the state of 600 decisions; shared, for nothing writes to it."""
    folder = tmp_path_factory.mktemp("explored")
    yield explored_log(folder, 600, seed=3)
    shutil.rmtree(folder)


def asked(log: tuple[Path, str], file: Path, *more: object) -> tuple[object, ...]:
    config, url = log
    return "policy", "evaluate", "--candidate", file, "--log", url, "--config", config, *more


def test_better_and_safer_candidate_passes(cli: Cli, log: tuple[Path, str], tmp_path: Path) -> None:
    done = cli(*asked(log, candidate(tmp_path / "c.yaml", **SAFER), "--margin", "0.05"))

    assert done.code == 0, done.out + done.err
    assert "Passes: no more violations than the margin allows, and a gain." in done.out
    assert all(word in done.out for word in ("reward", "cost_usd", "latency_ms", "violations"))


def test_true_change_lies_in_every_interval(cli: Cli, log: tuple[Path, str], tmp_path: Path) -> None:
    told = cli(*asked(log, candidate(tmp_path / "c.yaml", **SAFER), "--margin", "0.05", "--json")).json

    answered = [(1.0 + quality) / 4.0 + quality / 2.0 for quality in (0.9, 0.6)]  # half of them are judged
    truth = {"reward": 0.98 * sum(answered) / 2.0, "latency_ms": 1_000.0, "violations": 0.02}
    for name, value in truth.items():
        assert told["metrics"][name]["candidate"]["low"] <= value <= told["metrics"][name]["candidate"]["high"]
    for metric in told["metrics"].values():
        change = metric["candidate"]["value"] - metric["logged"]["value"]
        assert metric["change"]["value"] == pytest.approx(change)


def test_frail_candidate_does_not_pass(cli: Cli, log: tuple[Path, str], tmp_path: Path) -> None:
    done = cli(*asked(log, candidate(tmp_path / "c.yaml", **FRAIL), "--by", "task_type,tenant"))

    assert done.code == 1
    told = " ".join(done.out.split())
    assert "Does not pass: violations may rise by up to" in told
    assert "harmed" in told
    assert "violations rise by more than the margin where task_type is" in told


def test_no_gain_does_not_pass(cli: Cli, log: tuple[Path, str], tmp_path: Path) -> None:
    same = {"exploration": {"rate": 0.5}}

    done = cli(*asked(log, candidate(tmp_path / "c.yaml", **same), "--json"))

    assert done.code == 1
    assert done.json["metrics"]["reward"]["change"] == pytest.approx({"value": 0.0, "low": 0.0, "high": 0.0})
    assert done.json["reasons"] == ["the gain may be as little as +0.0000; it must be above 0.0000"]


def test_log_that_never_tried_it_is_told_in_words(cli: Cli, tmp_path: Path) -> None:
    certain = explored_log(tmp_path, 60, policy={"access": [{"name": "two", "only": {"ids": ["gpt-4o", "o1"]}}]})
    file = tmp_path / "c.yaml"
    file.write_text(json.dumps({"access": [{"name": "two", "only": {"ids": ["o1"]}}]}), encoding="utf-8")

    done = cli(*asked(certain, file))

    assert done.code == 1
    assert "could not have been logged" in " ".join(done.out.split())


def test_lifting_a_safety_rule_counts_as_violations(cli: Cli, log: tuple[Path, str], tmp_path: Path) -> None:
    done = cli(*asked(log, candidate(tmp_path / "c.yaml", access=[]), "--json"))

    assert done.code == 1
    assert done.json["breaches"] > 0.3
    assert done.json["metrics"]["violations"]["change"]["low"] > 0.2


def test_rows_in_a_file_say_the_same_as_the_state(cli: Cli, log: tuple[Path, str], tmp_path: Path) -> None:
    file, export = candidate(tmp_path / "c.yaml", **SAFER), tmp_path / "rows.jsonl"
    export.write_text("".join(f"{json.dumps(row)}\n" for row in read_log(log[1])), encoding="utf-8")
    config, _ = log

    first, second = (cli(*asked((config, str(where)), file, "--json")).json for where in (log[1], export))

    assert first == second


def test_cohorts_and_estimator_are_as_asked(cli: Cli, log: tuple[Path, str], tmp_path: Path) -> None:
    file = candidate(tmp_path / "c.yaml", **SAFER)

    told = cli(*asked(log, file, "--by", "language,task_type", "--estimator", "snips", "--json")).json

    assert [(one["by"], one["name"]) for one in told["cohorts"]] == [
        ("language", "Latn"), ("task_type", "analysis"), ("task_type", "planning"),
    ]  # fmt: skip
    assert {one["estimator"] for one in told["metrics"].values()} == {"snips"}


def test_decisions_on_another_catalogue_are_left_out(cli: Cli, log: tuple[Path, str], tmp_path: Path) -> None:
    config = tmp_path / "config"
    shutil.copytree(log[0], config)
    (config / "experts.yaml").write_text("experts: {gpt-4o: {quality: 0.5}}\n", encoding="utf-8")

    done = cli(*asked((config, log[1]), candidate(tmp_path / "c.yaml", **SAFER)))

    assert done.code == 1
    assert "600 of 600 decisions were left out: the catalogue was another one" in " ".join(done.out.split())


def test_every_reason_has_its_words() -> None:
    assert set(EXCUSES) == {*map(str, Reason), *map(str, LeftOut)}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"--candidate": "nowhere.yaml"}, "no such file"),
        ({"--log": "sqlite:///nowhere.db"}, "there is no decision log"),
        ({"--log": ":memory:"}, "there is no decision log"),
        ({"--log": "nowhere.jsonl"}, "nowhere.jsonl"),
        ({"--estimator": "drr"}, "did you mean 'dr'"),
        ({"--by": "tasktype"}, "did you mean 'task_type'"),
        ({"--margin": "2"}, "--margin"),
    ],
)
def test_bad_input_is_one_line(
    cli: Cli, log: tuple[Path, str], tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    usual = {"--candidate": str(candidate(tmp_path / "c.yaml")), "--log": log[1], "--config": str(log[0])}

    done = cli("policy", "evaluate", *(word for pair in (usual | options).items() for word in pair))

    assert done.code == 2
    assert told in done.err
    assert done.err.count("\n") == 1
