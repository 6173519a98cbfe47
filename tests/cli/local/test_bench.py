"""`crew-moe local bench`."""

from __future__ import annotations

from tests.cli.conftest import Cli

ONE = ("local", "bench", "--rounds", "1")


def test_times_of_an_expert_by_length(cli: Cli) -> None:
    row = cli(*ONE, "--expert", "extractive", "--json").json["experts"][0]

    assert set(row["by_length_s"]) == {"short", "medium", "long"}
    assert all(seconds > 0 for seconds in (row["first_s"], row["at_once_per_s"], *row["by_length_s"].values()))


def test_who_has_no_weights_is_told_what_to_do(cli: Cli) -> None:
    told = cli(*ONE, "--expert", "extractive", "--expert", "byt5").out

    assert "crew-moe local train-demo" in told or "pip install 'crew-moe[local]'" in told
    assert "MiB" in told


def test_nothing_to_measure_is_a_failure(cli: Cli) -> None:
    answer = cli(*ONE, "--expert", "byt5", "--json")

    assert answer.code == 1
    assert answer.json["refused"][0]["trouble"] in {"missing_weights", "missing_extra"}


def test_unknown_expert_is_one_clear_line(cli: Cli) -> None:
    answer = cli(*ONE, "--expert", "extractiv")

    assert answer.code == 2
    assert "did you mean 'extractive'?" in answer.err
