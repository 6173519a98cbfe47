"""`crew-moe policy`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "policies"
EXAMPLE = "- {name: one, expect: {allowed: [o1]}}\n"


def test_policy_in_force_is_shown(cli: Cli) -> None:
    done = cli("policy", "show")

    assert done.out.startswith("default@")
    assert "quality 47.6, cost 19.0" in done.out
    assert "security_audit" in done.out


def test_own_policy_lies_over_the_packaged_one(cli: Cli, crew_dir: Path) -> None:
    (crew_dir / "policy.yaml").write_text("name: mine\nstrategy: rule\n", encoding="utf-8")

    shown = cli("policy", "show", "--config", crew_dir, "--json").json

    assert (shown["name"], shown["strategy"]) == ("mine", "rule")
    assert shown["tasks"]["reasoning"]["requires"] == ["reasoning"]


def test_valid_folder_is_said_to_be_valid(cli: Cli, crew_dir: Path) -> None:
    done = cli("policy", "validate", "--config", crew_dir)

    assert done.code == 0, done.err
    assert "agents.yaml, tasks.yaml are valid" in done.out
    assert cli("policy", "validate", "--json").json["experts"] == 24


def test_mistake_in_a_routing_block_is_found(cli: Cli, crew_dir: Path) -> None:
    (crew_dir / "routing.yaml").write_text("default: {profile: careful}\n", encoding="utf-8")

    done = cli("policy", "validate", "--config", crew_dir)

    assert done.code == 2
    assert "routing.yaml: default.profile: unknown profile 'careful'" in done.err


def test_strategy_that_does_not_exist_is_found(cli: Cli, crew_dir: Path) -> None:
    (crew_dir / "policy.yaml").write_text("strategy: scoer\n", encoding="utf-8")

    done = cli("policy", "validate", "--config", crew_dir)

    assert done.code == 2
    assert "did you mean 'score'?" in done.err


@pytest.mark.parametrize(
    ("learning", "says"),
    [
        ("model: gone.npz", "gone.json: can't be read"),
        ("factors: [{name: own, weight: 1, python: 'no_such_module_here:worth'}]", "learning.factors.0.python"),
    ],
)
def test_what_learning_names_and_nobody_finds_is_no_valid_policy(
    cli: Cli, crew_dir: Path, learning: str, says: str
) -> None:
    (crew_dir / "policy.yaml").write_text(f"learning: {{{learning}}}\n", encoding="utf-8")

    done, checked = cli("policy", "validate", "--config", crew_dir), cli("doctor", "--config", crew_dir, "--json")

    assert (done.code, checked.code) == (2, 1)
    assert says in done.err
    assert says in next(one["detail"] for one in checked.json if one["topic"] == "config")


def test_access_rules_in_force_are_shown(cli: Cli) -> None:
    done = cli("policy", "show", "--config", FIXTURES / "rules")

    assert "premium is for" in done.out
    assert "not tiers: premium" in " ".join(done.out.split())
    assert "Cedar policies: default.cedar" in done.out
    shown = cli("policy", "show", "--config", FIXTURES / "rules", "--json").json
    assert shown["access"][0]["unless"][0]["roles"] == ["admin", "lead"]


def test_what_stands_before_a_call_is_shown(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(
        "gate: {above: fast, checks: [{has_any_role: [lead]}]}\nscreening: {pii: redact}\n"
        "budgets: {on_exhausted: hold, limits: {'run:*': {usd: 1, window: run, warn_at: 0.5}}}\n"
    )

    done = cli("policy", "show", "--config", tmp_path)

    assert "Gate: task_approval, has_any_role; all experts above fast have to pass." in done.out
    assert "Screening: pii redact, injection skip" in done.out
    assert "Budgets: hold when one is used up; warnings from 80 % on." in done.out
    assert "run:*  $1.000000  run     hold          50 %" in done.out


def test_a_mistake_in_a_cedar_policy_is_found(cli: Cli, crew_dir: Path) -> None:
    (crew_dir / "policies").mkdir()
    (crew_dir / "policies" / "own.cedar").write_text('permit (principal, action, resource == Expert::"o2");')

    for command in (("validate",), ("show",), ("test",)):
        done = cli("policy", *command, "--config", crew_dir)

        assert done.code == 2
        assert "own.cedar: line 1, policy 'own.cedar:1': Expert::\"o2\" does not exist" in done.err


@pytest.mark.parametrize("form", ["rules", "cedar"])
def test_examples_that_hold_pass(cli: Cli, form: str) -> None:
    done = cli("policy", "test", FIXTURES / "examples.yaml", "--config", FIXTURES / form)

    assert done.code == 0, done.out
    assert "16 of 16 examples pass" in done.out


def test_an_example_that_does_not_hold_fails_and_says_why(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "examples.yml").write_text(EXAMPLE, encoding="utf-8")

    done = cli("policy", "test", tmp_path / "examples.yml", "--config", FIXTURES / "rules")

    assert done.code == 1
    assert "one      FAILED  o1 is forbidden by 'premium is for leads', not allowed" in done.out
    assert "0 of 1 examples pass" in done.out


def test_results_of_examples_are_there_as_json(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(EXAMPLE, encoding="utf-8")

    done = cli("policy", "test", tmp_path / "a.yaml", "--config", FIXTURES / "rules", "--json")

    assert (done.code, done.json["passed"], done.json["failed"]) == (1, 0, 1)
    (example,) = done.json["examples"]
    assert (example["name"], example["ok"]) == ("one", False)
    assert example["differences"] == [
        {"expert_id": "o1", "found": "forbidden by 'premium is for leads'", "expected": "allowed"}
    ]


def test_examples_beside_the_policies_run_by_themselves(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "mine.yaml").write_text(EXAMPLE, encoding="utf-8")

    done = cli("policy", "test", "--config", tmp_path)

    assert done.code == 0, done.err
    assert "1 of 1 examples pass" in done.out


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "must be a list of examples"), ("- {name: x, expect: {}}", "expects nothing"), ("- [", "line ")],
)
def test_a_bad_example_file_is_a_usage_error(cli: Cli, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")

    done = cli("policy", "test", tmp_path / "a.yaml")

    assert done.code == 2
    assert says in done.err


def test_the_packaged_examples_pass(cli: Cli) -> None:
    assert "2 of 2 examples pass" in cli("policy", "test").out


def test_where_there_are_no_examples_none_pass(cli: Cli, tmp_path: Path) -> None:
    assert cli("policy", "test", "--config", tmp_path).code == 2
    assert "no such file" in cli("policy", "test", tmp_path / "none.yaml").err
