"""`crew-moe plan`: the decisions of a run, with no call made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli


def _routing(folder: Path, old: str, new: str) -> None:
    path = folder / "tasks.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_plan_names_expert_cost_and_reason_for_each_task(cli: Cli) -> None:
    done = cli("plan")

    assert done.code == 0, done.err
    for name in ("triage", "analyse", "audit", "contacts", "brief"):
        assert f"\n{name} " in done.out
    assert "claude-sonnet-4 for security_audit" in done.out
    assert "next: " in done.out
    assert "No call was made." in done.out


def test_json_gives_the_range_of_costs(cli: Cli) -> None:
    plan = cli("plan", "--json").json

    for task in plan["tasks"]:
        assert task["cost"]["min_usd"] <= task["cost"]["expected_usd"] <= task["cost"]["max_usd"]
    assert plan["totals"]["expected_usd"] == pytest.approx(sum(t["cost"]["expected_usd"] for t in plan["tasks"]))
    assert plan["totals"]["infeasible"] == 0


def test_plan_foresees_what_a_run_without_failures_does(cli: Cli, tmp_path: Path) -> None:
    calm = tmp_path / "calm.yaml"
    calm.write_text("rules: []\n", encoding="utf-8")

    planned = [task["expert_id"] for task in cli("plan", "--json").json["tasks"]]

    assert planned == [task["expert_id"] for task in cli("run", "--script", calm, "--json").json["tasks"]]


def test_infeasible_task_is_told_and_exits_1(cli: Cli, crew_dir: Path) -> None:
    _routing(crew_dir, "min_quality: 0.94", "min_quality: 0.999")

    done = cli("plan", "--config", crew_dir)

    assert done.code == 1
    assert "infeasible: min_quality 0.999" in done.out
    assert cli("plan", "--config", crew_dir, "--json").json["totals"]["infeasible"] == 1


def test_live_plan_keeps_to_what_can_be_called(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")

    tasks = cli("plan", "--live", "--json").json["tasks"]

    assert {task["expert_id"] for task in tasks} <= {"gpt-4o", "gpt-4o-mini", "gpt-5"}


def test_task_that_asks_for_approval_says_so(cli: Cli) -> None:
    asks = {task["task"]: task["asks"] for task in cli("plan", "--json").json["tasks"]}

    assert asks == dict.fromkeys(asks, False) | {"audit": True}
    assert cli("plan").out.count("held until somebody approves of this expert") == 1


def test_cheaper_expert_needs_no_approval(cli: Cli, crew_dir: Path) -> None:
    _routing(crew_dir, "tier: premium\n    min_quality: 0.94", "tier: baseline")

    assert not any(task["asks"] for task in cli("plan", "--config", crew_dir, "--json").json["tasks"])


def test_longer_document_costs_more(cli: Cli, tmp_path: Path) -> None:
    short, long = tmp_path / "short.txt", tmp_path / "long.txt"
    short.write_text("One sentence.", encoding="utf-8")
    long.write_text("One sentence. " * 2_000, encoding="utf-8")

    costs = [cli("plan", path, "--json").json["totals"]["expected_usd"] for path in (short, long)]

    assert costs[0] < costs[1]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("agent: triager", "agent: triagger", "triage.agent: unknown agent 'triagger'; did you mean 'triager'?"),
        ("[triage, analyse, audit, contacts]", "[triag]", "brief.context: unknown earlier task 'triag'"),
    ],
)
def test_unknown_name_is_told_with_the_closest(cli: Cli, crew_dir: Path, old: str, new: str, told: str) -> None:
    _routing(crew_dir, old, new)

    done = cli("plan", "--config", crew_dir)

    assert done.code == 2
    assert told in done.err


def test_what_colleagues_write_is_part_of_what_a_task_reads(cli: Cli, crew_dir: Path) -> None:
    with_context = cli("plan", "--config", crew_dir, "--json").json["tasks"][-1]
    _routing(crew_dir, "context: [triage, analyse, audit, contacts]", "context: []")

    alone = cli("plan", "--config", crew_dir, "--json").json["tasks"][-1]

    assert with_context["expert_id"] == alone["expert_id"]
    assert alone["cost"]["expected_usd"] < with_context["cost"]["expected_usd"]
