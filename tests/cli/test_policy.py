"""`crew-moe policy`."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Cli


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
    assert cli("policy", "validate", "--json").json["experts"] == 21


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
