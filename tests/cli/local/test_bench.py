"""`crew-moe local bench`."""

from __future__ import annotations

from pathlib import Path

import pytest

from crew_moe.domain.hosting import HostKind, HostSpec
from crew_moe.local_gate.demo.manifest import NAME
from crew_moe.local_gate.trial import options_of
from tests.cli.conftest import Cli
from tests.local_gate.demo.test_manifest import MANIFEST

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


@pytest.mark.parametrize(("kind", "options"), [(HostKind.BYT5, {"task": "rot13"}), (HostKind.LONGFORMER, {})])
def test_demonstration_is_asked_for_what_it_can_do(tmp_path: Path, kind: HostKind, options: dict[str, str]) -> None:
    (tmp_path / NAME).write_text(MANIFEST.model_dump_json())

    assert options_of(HostSpec(name="it", kind=kind, path=tmp_path)) == options


def test_model_from_elsewhere_is_asked_without_a_task(tmp_path: Path) -> None:
    spec = HostSpec(name="it", kind=HostKind.BYT5, path=tmp_path)

    assert options_of(spec) == {}
    (tmp_path / NAME).write_text("{")
    assert options_of(spec) == {}
