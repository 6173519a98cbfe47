"""`crew-moe learn replay`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.learning.graded_rows import graded_file

FIGURES = ["regret_vs_best_fixed", "regret_vs_oracle", "mean_reward", "eval_reward_greedy", "us_per_round"]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return graded_file(tmp_path / "rows.jsonl", 80)


@pytest.fixture
def more(tmp_path: Path) -> Path:
    return graded_file(tmp_path / "more.jsonl", 40, seed=2)


def test_a_replay_prints_these_figures(cli: Cli, rows: Path, more: Path) -> None:
    told = cli("learn", "replay", "--data", rows, "--policy", "lints", "--seed", "3", "--eval", more, "--json").json

    assert list(told) == FIGURES
    assert 0.0 < told["eval_reward_greedy"] < 1.0
    assert told["us_per_round"] > 0.0


def test_several_files_are_one_pass_however_they_are_given(cli: Cli, rows: Path, more: Path) -> None:
    given = ("--policy", "linucb", "--seed", "1", "--json")
    repeated = cli("learn", "replay", "--data", rows, "--data", more, *given).json
    listed = cli("learn", "replay", "--data", rows, more, *given).json
    alone = cli("learn", "replay", "--data", rows, *given).json

    del repeated["us_per_round"], listed["us_per_round"]
    assert repeated == listed
    assert repeated["mean_reward"] != alone["mean_reward"]
    assert repeated["eval_reward_greedy"] is None


def test_a_person_reads_a_table(cli: Cli, rows: Path) -> None:
    done = cli("learn", "replay", "--data", rows, "--policy", "squarecb", "--arms", "coder, sage")

    assert done.code == 0, done.err
    assert "squarecb, 80 rounds" in done.out
    assert "regret vs best fixed" in done.out


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--policy", "lintz"), "--policy: 'lintz' is not known; did you mean 'lints'?"),
        (("--policy", "lints", "--arms", "coder,sagee"), "unknown expert 'sagee'; did you mean 'sage'?"),
        (("--policy", "lints", "--arms", "coder,,sage"), "--arms: 'coder,,sage' has an empty name"),
        (("--policy", "lints", "--cost-weight", "-1"), "--cost-weight: -1.0 is no weight"),
        (("--policy", "lints", "--eval", "nowhere.jsonl"), "nowhere.jsonl: there is no such file"),
        (("--policy", "lints", "--seed", "-1"), "--seed"),
        ((), "--policy"),
    ],
)
def test_what_cannot_be_is_named_in_one_line(cli: Cli, rows: Path, given: tuple[str, ...], told: str) -> None:
    done = cli("learn", "replay", "--data", rows, *given)

    assert done.code == 2
    assert told in done.err
    assert done.out == ""
