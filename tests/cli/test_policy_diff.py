"""`crew-moe policy diff`."""

from __future__ import annotations

from pathlib import Path

import pytest

from crew_moe.cli.policy_diff import WHY
from crew_moe.simulation import Reason
from tests.cli.conftest import Cli


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
    path = tmp_path / "candidate.yaml"
    path.write_text("access: [{name: no claude, forbid: {providers: [anthropic]}}]\n", encoding="utf-8")
    return path


def _decide(cli: Cli, state: str) -> str:
    for kind in ("analysis", "planning"):
        done = cli("route", "--task-type", kind, "--text", "Why did the deploy fail?", "--state", state, "--json")
        assert done.code == 0, done.err
    return state


def test_changes_are_told_with_examples(cli: Cli, state: str, candidate: Path) -> None:
    done = cli("policy", "diff", candidate, "--state", _decide(cli, state))

    assert done.code == 0, done.err
    assert "2 of 2 decisions were made again under default@" in done.out
    assert "1 would be another (50.0%)." in done.out
    assert "Predicted cost of those that somebody serves: $0.00" in done.out
    assert "claude-sonnet-4" in done.out


def test_json_is_the_whole_result(cli: Cli, state: str, candidate: Path) -> None:
    told = cli("policy", "diff", candidate, "--state", _decide(cli, state), "--task-type", "planning", "--json").json

    assert (told["seen"], told["changed"], told["not_decidable"]) == (1, 0, [])


def test_no_change_is_said_in_one_line(cli: Cli, state: str, tmp_path: Path) -> None:
    same = tmp_path / "same.yaml"
    same.write_text("gate: {above: premium}\n", encoding="utf-8")

    done = cli("policy", "diff", same, "--state", _decide(cli, state), "--last", "1")

    assert "0 would be another (0.0%)." in done.out
    assert "Not tried, though the candidate differs in them: gate." in done.out


def test_decisions_on_another_catalogue_are_left_out(cli: Cli, state: str, candidate: Path, crew_dir: Path) -> None:
    (crew_dir / "experts.yaml").write_text("experts: {gpt-4o: {quality: 0.5}}\n", encoding="utf-8")

    done = cli("policy", "diff", candidate, "--state", _decide(cli, state), "--config", crew_dir)

    assert "0 of 2 decisions were made again" in done.out
    assert "2 could not be made again: the catalogue was another one" in done.out.replace("\n", " ")


def test_every_reason_has_its_words() -> None:
    assert set(WHY) == set(Reason)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nowhere.yaml", "--state", "STATE"), "no such file"),
        (("CANDIDATE",), "a comparison needs a state that outlives this command"),
        (("CANDIDATE", "--state", "STATE", "--last", "0"), "decisions: must be from 1 to 1000"),
        (("CANDIDATE", "--state", "STATE", "--task-type", "planing"), "did you mean 'planning'"),
    ],
)
def test_bad_input_is_one_line(cli: Cli, state: str, candidate: Path, arguments: tuple[str, ...], told: str) -> None:
    given = [{"STATE": state, "CANDIDATE": str(candidate)}.get(word, word) for word in arguments]

    done = cli("policy", "diff", *given)

    assert done.code == 2
    assert told in done.err
