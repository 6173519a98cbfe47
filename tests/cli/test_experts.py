"""`crew-moe experts` and `crew-moe health`."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Cli


def test_catalogue_lists_everybody_best_first(cli: Cli) -> None:
    rows = cli("experts", "--json").json

    assert [row["quality"] for row in rows] == sorted((row["quality"] for row in rows), reverse=True)
    assert len({row["provider"] for row in rows}) == 6
    assert rows[0]["expert_id"] == "claude-opus-4"


def test_ranking_for_a_task_type_compares_cost_and_return(cli: Cli) -> None:
    rows = cli("experts", "--task-type", "security_audit", "--top", "3", "--json").json

    assert len(rows) == 3
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    assert all(0 <= row["roi"] <= 1 and row["cost_ratio"] is not None for row in rows)


@pytest.mark.parametrize("arguments", [(), ("--task-type", "security_audit")])
def test_table_fits_80_columns_with_whole_ids(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    text = cli("experts", *arguments).out

    assert "gemini-2.0-flash-thinking" in text
    assert max(map(len, text.splitlines())) <= 80


def test_live_lists_only_what_can_be_called(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTRAL_API_KEY", "m-test")

    assert [row["expert_id"] for row in cli("experts", "--live", "--json").json] == ["mistral-small-4"]


def test_unknown_task_type_gets_the_closest(cli: Cli) -> None:
    done = cli("experts", "--task-type", "codegen")

    assert done.code == 2
    assert "did you mean 'code_generation'?" in done.err


def test_health_says_who_can_be_called_and_why_not(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")

    rows = {row["expert_id"]: row for row in cli("health", "--json").json["experts"]}

    assert rows["gpt-4o"]["available"] is True
    assert rows["o1"]["reason"] == "retired by its provider"
    assert rows["mistral-small-4"]["reason"] == "MISTRAL_API_KEY is not set"


def test_health_shows_the_breaker_that_a_run_opened(cli: Cli, state: str) -> None:
    cli("run", "--state", state, "--json")

    done = cli("health", "--state", state)

    row = next(line for line in done.out.splitlines() if line.startswith("claude-sonnet-4 "))
    assert row.split()[1:3] == ["no", "open"]


def test_health_shows_pins(cli: Cli, state: str) -> None:
    cli("pin", "gpt-5", "--task", "audit", "--reason", "trial", "--state", state)

    done = cli("health", "--state", state)

    assert "gpt-5      task audit  unpinned  trial" in done.out
    assert cli("health", "--state", state, "--json").json["pins"][0]["reason"] == "trial"
