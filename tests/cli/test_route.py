"""`crew-moe route` and `crew-moe explain`: one decision and its evidence."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

ASK = ("route", "--task-type", "code_generation", "--text", "Write an API", "--budget", "0.01", "--min-quality", "0.85")


def test_decision_is_shown_with_cost_rivals_and_who_is_next(cli: Cli) -> None:
    done = cli(*ASK, "--requires", "tools")

    assert done.code == 0, done.err
    assert done.out.startswith("claude-sonnet-4\n")
    for word in ("Task type", "Cost", "Confidence", "Next", "Candidate", "claude-haiku-4-5"):
        assert word in done.out
    assert "Not eligible" not in done.out


def test_all_lists_every_expert_once(cli: Cli) -> None:
    everybody = {row["expert_id"] for row in cli("experts", "--json").json}
    decision = cli(*ASK, "--all", "--json").json

    listed = [row["expert_id"] for row in (*decision["candidates"], *decision["rejections"])]
    assert sorted(listed) == sorted(everybody)
    assert "serves only where it is named" in cli(*ASK, "--all").out


def test_json_is_the_decision(cli: Cli) -> None:
    decision = cli(*ASK, "--json").json

    assert decision["ok"] is True
    assert decision["expert_id"] == "claude-sonnet-4"
    assert {"fallbacks", "factors", "rationale", "decision_id", "propensity"} <= decision.keys()


def test_infeasible_request_names_what_binds_and_exits_1(cli: Cli) -> None:
    arguments = ("route", "--task-type", "reasoning", "--text", "a", "--min-quality", "0.95", "--budget", "0.0001")

    done = cli(*arguments)

    assert done.code == 1
    assert done.out.startswith("infeasible: min_quality 0.95 within budget_usd 0.0001; nearest: ")
    assert cli(*arguments, "--json").json["binding"] == "min_quality"


def test_request_comes_from_a_file_and_options_override_it(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "request.json"
    path.write_text(json.dumps({"task_type": "testing", "text": "a", "tier": "fast"}), encoding="utf-8")

    decision = cli("route", "--request", path, "--tier", "premium", "--json").json

    assert (decision["task_type"], decision["tier"]) == ("testing", "premium")


@pytest.mark.parametrize(
    ("arguments", "given"),
    [(("--request", "-"), '{"text": "Refactor this"}'), (("--text", "-"), "Refactor this")],
)
def test_request_comes_from_stdin(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], given: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given.encode())))

    assert cli("route", *arguments, "--json").json["task_type"] == "refactoring"


def test_inferred_task_type_shows_how_sure(cli: Cli) -> None:
    assert "refactoring (inferred, " in cli("route", "--text", "Refactor this").out


def test_live_decision_keeps_to_what_can_be_called(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTRAL_API_KEY", "m-test")

    assert cli(*ASK[:5], "--live", "--json").json["expert_id"] == "mistral-small-4"


def test_recorded_decision_is_told_again(cli: Cli, state: str) -> None:
    decision_id = cli(*ASK, "--state", state, "--json").json["decision_id"]

    done = cli("explain", decision_id, "--state", state)

    assert done.code == 0, done.err
    assert "claude-sonnet-4 for code_generation" in done.out
    assert "the same choice came out, bit for bit" in done.out
    assert "nobody, as far as is known" in done.out
    assert cli("explain", decision_id, "--state", state, "--json").json["matches"] is True


def test_recorded_refusal_is_told_again(cli: Cli, state: str) -> None:
    arguments = ("route", "--text", "Solve", "--min-quality", "0.999", "--state", state, "--json")
    decision_id = cli(*arguments).json["decision_id"]

    done = cli("explain", decision_id, "--state", state)

    assert done.out.startswith("infeasible: min_quality 0.999")
    assert "the row alone does not decide" in done.out


def test_unknown_decision_is_refused(cli: Cli, state: str) -> None:
    done = cli("explain", "d-1", "--state", state)

    assert (done.code, done.err) == (2, "error: unknown decision 'd-1'\n")


def test_explaining_needs_a_state_that_lasts(cli: Cli) -> None:
    done = cli("explain", "d-1")

    assert done.code == 2
    assert "--state" in done.err
