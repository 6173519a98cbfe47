"""`crew-moe local new-expert`: what it writes works at once, and it overwrites nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from crew_moe.catalog.local import load_local
from crew_moe.domain.hosting import HostKind
from tests.cli.conftest import Cli

FILES = {"shout_loud_expert.py", "test_shout_loud_expert.py", "local.yaml"}


def test_written_tests_pass(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert cli("local", "new-expert", "shout-loud", "--dir", folder).code == 0

    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", str(folder)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout


def test_written_files_are_clean(cli: Cli, tmp_path: Path) -> None:
    cli("local", "new-expert", "shout-loud", "--dir", tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == FILES
    for tool in (["ruff", "check", "--isolated"], ["ruff", "format", "--isolated", "--line-length=120", "--check"]):
        done = subprocess.run([sys.executable, "-m", *tool, str(tmp_path)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_written_entry_is_an_expert_of_the_local_gate(cli: Cli, tmp_path: Path) -> None:
    told = cli("local", "new-expert", "shout", "--dir", tmp_path, "--json").json

    spec = load_local(tmp_path).hosts["shout"]
    assert (spec.kind, spec.class_path, spec.path) == (HostKind.PYTHON, "shout_expert:ShoutExpert", tmp_path)
    assert len(spec.examples) >= 5
    assert yaml.safe_load(told["entry"])["shout"]["class"] == spec.class_path
    assert len(told["written"]) == 3


def test_second_expert_leaves_local_yaml_to_its_owner(cli: Cli, tmp_path: Path) -> None:
    cli("local", "new-expert", "one", "--dir", tmp_path)
    before = (tmp_path / "local.yaml").read_text(encoding="utf-8")

    done = cli("local", "new-expert", "two", "--dir", tmp_path)

    assert (tmp_path / "local.yaml").read_text(encoding="utf-8") == before
    assert "class: two_expert:TwoExpert" in done.out
    assert (tmp_path / "two_expert.py").exists()


def test_nothing_is_overwritten(cli: Cli, tmp_path: Path) -> None:
    own = tmp_path / "test_shout_expert.py"
    own.write_text("mine", encoding="utf-8")

    done = cli("local", "new-expert", "shout", "--dir", tmp_path)

    assert (done.code, own.read_text(encoding="utf-8")) == (2, "mine")
    assert str(own) in done.err
    assert [path.name for path in tmp_path.iterdir()] == [own.name]


@pytest.mark.parametrize(
    "name", ["", "Shout", "1st", "a b", "../up", "über", "-x", "a--b", "a_", "x" * 61, "a\n", "auto", "byt5"]
)
def test_odd_name_is_one_clear_line(cli: Cli, name: str, tmp_path: Path) -> None:
    done = cli("local", "new-expert", "--dir", tmp_path, "--", name)

    assert done.code == 2
    assert done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_made_is_one_clear_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")

    done = cli("local", "new-expert", "shout", "--dir", tmp_path / "file" / "below")

    assert done.code == 2
    assert "can't be written" in done.err
