"""`crew-moe run`: real crews over simulated providers, told to people and to machines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from crew_moe.sim import simulate
from tests.cli.conftest import Cli, Done

TASKS = ("triage", "analyse", "audit", "contacts", "brief")
DOWN = "rules:\n  - {error: 500}\n"


@pytest.fixture
def down(tmp_path: Path) -> Path:
    """A script under which every provider fails."""
    path = tmp_path / "down.yaml"
    path.write_text(DOWN, encoding="utf-8")
    return path


@pytest.fixture
def one_task(crew_dir: Path) -> Path:
    """A crew with a single task and no document."""
    text = (
        "only:\n  description: Write about the sea. The sea is deep. The sea is blue.\n"
        "  expected_output: Words\n  agent: writer\n  routing: {tier: fast}\n"
    )
    (crew_dir / "tasks.yaml").write_text(text, encoding="utf-8")
    return crew_dir


@pytest.fixture(scope="module")
def demo() -> Any:
    """The demonstration's JSON, from a process of its own."""
    code = "import sys; from crew_moe.cli import main; sys.exit(main(['run', '--json']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_json_has_the_documented_shape(demo: Any) -> None:
    task_keys = {
        "task", "expert_id", "tier", "attempts", "input_tokens", "output_tokens", "cost_usd", "latency_ms",
        "rationale", "decision_id",
    }  # fmt: skip

    assert {"tasks", "totals", "output"} <= demo.keys()
    assert all(task_keys <= task.keys() for task in demo["tasks"])
    assert {"cost_usd", "always_best_usd", "always_cheapest_usd", "fallbacks"} <= demo["totals"].keys()
    assert demo["simulated"] is True


def test_demo_runs_every_task_and_writes_a_brief(demo: Any) -> None:
    assert [task["task"] for task in demo["tasks"]] == list(TASKS)
    assert demo["output"].startswith("# ")


def test_routing_leads_tasks_to_different_experts_and_tiers(demo: Any) -> None:
    assert len({task["expert_id"] for task in demo["tasks"]}) >= 3
    assert {task["tier"] for task in demo["tasks"]} == {"fast", "baseline", "premium"}


def test_degraded_expert_makes_a_fallback_that_is_on_the_trail(demo: Any) -> None:
    audit = demo["tasks"][2]

    assert demo["totals"]["fallbacks"] == 1
    assert [attempt["ok"] for attempt in audit["attempts"]] == [False, True]
    assert audit["attempts"][0]["error"] == "rate_limit"
    assert audit["attempts"][1]["expert_id"] == audit["expert_id"]


def test_premium_task_is_held_and_approved(demo: Any) -> None:
    audit = demo["tasks"][2]

    assert audit["tier"] == "premium"
    assert audit["attempts"][-1]["detail"] == "approved by duty officer"


def test_personal_data_of_a_task_is_redacted_and_restored(demo: Any) -> None:
    assert {task["task"]: task["redacted"] for task in demo["tasks"]} == dict.fromkeys(TASKS, 0) | {"contacts": 6}


def test_last_task_is_downgraded_by_what_the_budget_has_left(demo: Any) -> None:
    brief = demo["tasks"][-1]

    assert [attempt["error"] for attempt in brief["attempts"]] == ["denied", None]
    assert "budget_left" in brief["attempts"][0]["detail"]
    assert brief["tier"] == "baseline"


def test_amounts_are_numbers_that_add_up(demo: Any) -> None:
    totals = demo["totals"]

    assert totals["cost_usd"] == pytest.approx(sum(task["cost_usd"] for task in demo["tasks"]))
    assert 0 < totals["always_cheapest_usd"] < totals["cost_usd"] < totals["always_best_usd"]


def test_tables_say_what_is_simulated_and_why_each_expert(cli: Cli) -> None:
    done = cli("run")

    assert done.code == 0, done.err
    assert "The providers are simulated" in done.out
    assert "It is not an LLM" in " ".join(done.out.split())
    assert "Degraded on purpose: claude-sonnet-4 fails with 429." in done.out
    words = " ".join(done.out.split())
    assert "claude-sonnet-4 failed (rate_limit, HTTP 429), then o1 answered (approved by duty officer)." in words
    assert "6 personal values went out as placeholders and came back in the answer." in words
    assert "gpt-5 was passed over (budget_left: less than 80% of the budget is left), then gpt-4o answered." in words
    assert all(f"\n{task} " in done.out for task in TASKS)
    assert "Always the best" in done.out
    assert "1 fallback" in done.out


def test_progress_stays_away_from_what_is_no_terminal(cli: Cli, one_task: Path) -> None:
    done = cli("run", "--config", one_task)

    assert done.err == ""


def test_own_document_is_worked_on(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("The pump in hall {nine} failed at dawn. Nobody heard the alarm of the pump.", encoding="utf-8")

    done = cli("run", path, "--json")

    assert done.json["document"] == str(path)
    assert "pump in hall {nine} failed" in done.json["output"]


def test_run_that_fails_shows_every_attempt_and_exits_1(cli: Cli, one_task: Path, down: Path) -> None:
    done = cli("run", "--config", one_task, "--script", down)

    assert done.code == 1
    assert "gemini-2.5-flash-lite failed (server, HTTP 500)" in done.out
    assert done.err.startswith("error: no expert could answer")
    assert done.err.count("\n") == 1


def test_failed_run_is_json_all_the_same(cli: Cli, one_task: Path, down: Path) -> None:
    done = cli("run", "--config", one_task, "--script", down, "--json")

    assert done.code == 1
    assert done.json["output"] is None
    assert "no expert could answer" in done.json["error"]
    assert done.json["tasks"][0]["attempts"]


def test_budget_of_the_run_leads_to_a_cheaper_expert(cli: Cli, one_task: Path) -> None:
    tasks = one_task / "tasks.yaml"
    tasks.write_text(tasks.read_text(encoding="utf-8").replace("{tier: fast}", "{tier: premium}"), encoding="utf-8")

    plain = cli("run", "--config", one_task, "--json").json["tasks"][0]
    tight = cli("run", "--config", one_task, "--budget", "0.002", "--json").json["tasks"][0]

    assert (plain["tier"], tight["tier"]) != ("premium", "premium")
    assert "over_budget" in {attempt["error"] for attempt in tight["attempts"]}
    assert tight["cost_usd"] <= 0.002


def test_budget_that_pays_for_nobody_ends_the_run(cli: Cli, one_task: Path) -> None:
    done = cli("run", "--config", one_task, "--budget", "0.000000001", "--json")

    assert done.code == 1
    assert done.json["totals"]["cost_usd"] == 0
    assert "budget" in done.err


@pytest.mark.parametrize("amount", ["nan", "-1", "1e30", "much"])
def test_budget_that_is_no_amount_is_refused(cli: Cli, amount: str) -> None:
    done = cli("run", f"--budget={amount}")

    assert (done.code, done.out) == (2, "")
    assert f"--budget: '{amount}' is no amount of US$" in done.err


def test_infeasible_task_ends_the_run_with_its_sentence(cli: Cli, one_task: Path) -> None:
    path = one_task / "tasks.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("{tier: fast}", "{min_quality: 0.99}"), encoding="utf-8")

    done = cli("run", "--config", one_task)

    assert done.code == 1
    assert "infeasible: min_quality 0.99; nearest: claude-opus-4" in done.err


def _run_live(cli: Cli, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> Done:
    with simulate(speed=0) as providers:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
        monkeypatch.setenv("OPENAI_BASE_URL", providers.base_url_of("openai"))
        done = cli("run", "--live", *arguments)
        assert {request.expert_id for request in providers.requests} <= {"gpt-4o-mini", "gpt-4o", "gpt-5"}
    return done


def test_live_run_keeps_to_keys_that_are_set_and_says_who_is_left_out(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, one_task: Path
) -> None:
    done = _run_live(cli, monkeypatch, "--config", one_task)

    words = " ".join(done.out.split())
    assert done.code == 0, done.err
    assert "Experts that may serve: gpt-4o, gpt-4o-mini, gpt-5." in words
    assert "retired them: claude-haiku-4," in words
    assert "key is not set: claude-haiku-4-5," in words
    assert "simulated" not in done.out


def test_key_is_never_shown(cli: Cli, monkeypatch: pytest.MonkeyPatch, one_task: Path) -> None:
    done = _run_live(cli, monkeypatch, "--config", one_task, "--json")

    assert "sk-very-secret" not in done.out + done.err


def test_live_run_without_any_key_says_which_there_are(cli: Cli) -> None:
    done = cli("run", "--live")

    assert done.code == 2
    assert "none of ANTHROPIC_API_KEY, COHERE_API_KEY," in done.err


def test_script_is_not_for_live_runs(cli: Cli, down: Path) -> None:
    done = cli("run", "--live", "--script", down)

    assert done.code == 2
    assert "--script" in done.err


def test_switched_off_routing_is_not_passed_over(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREW_MOE_DISABLED", "1")

    done = cli("run")

    assert done.code == 2
    assert "CREW_MOE_DISABLED" in done.err


def test_kept_state_lets_a_choice_be_explained(cli: Cli, one_task: Path, state: str) -> None:
    decision_id = cli("run", "--config", one_task, "--state", state, "--json").json["tasks"][0]["decision_id"]

    done = cli("explain", decision_id, "--state", state)

    assert done.code == 0, done.err
    assert "the same choice came out, bit for bit" in done.out
    assert "answered" in done.out


def test_crew_that_fails_by_itself_shows_what_it_cost(cli: Cli, one_task: Path) -> None:
    tasks = one_task / "tasks.yaml"
    tasks.write_text(f"{tasks.read_text(encoding='utf-8')}  human_input: true\n", encoding="utf-8")

    done = cli("run", "--config", one_task, "--json")  # nobody is there to answer

    assert done.code == 1
    assert "error: the crew failed: " in done.err
    assert "Human Feedback Required" in done.err
    assert done.json["output"] is None
    assert done.json["totals"]["cost_usd"] > 0
