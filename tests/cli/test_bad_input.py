"""Whatever is wrong with what somebody gives: one line that names file, key, what is allowed and the closest match."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli, Done

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
RING = "experts:\n  gpt-4o: {fallback: gpt-5}\n  gpt-5: {fallback: gpt-4o}\n"


def _refused(done: Done) -> None:
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert "Traceback" not in done.err


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("tier: fast", "teir: fast", "triage.routing: unknown field 'teir'; did you mean 'tier'?; allowed: approval,"),
        (
            "tier: fast",
            "tier: fats",
            "triage.routing.tier: 'fats' is not one of the allowed values; did you mean 'fast'",
        ),
        ("task_type: security_audit", "task_type: security", "did you mean 'security_audit'?"),
        ("budget_usd: 0.50", "budget_usd: -1", "audit.routing.budget_usd: -1 is no amount of US$"),
        ("budget_usd: 0.50", "budget_usd: .nan", "audit.routing.budget_usd: nan is no amount of US$"),
        ("risk: high", "pin: claude-opus-44", "audit.routing.pin: unknown expert 'claude-opus-44'; did you mean"),
        ("risk: high", "parallel: auto", "'parallel' is not available yet"),
        ("risk: high", "risk: high\n    risk: low", "key 'risk' stands twice"),
    ],
)
def test_wrong_routing_block_names_its_place(
    cli: Cli, crew_dir: Path, command: str, old: str, new: str, told: str
) -> None:
    path = crew_dir / "tasks.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")

    done = cli(command, "--config", crew_dir)

    _refused(done)
    assert "tasks.yaml" in done.err
    assert told in done.err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "experts:\n  gpt-4o: {quality: 0.9}\n  gpt-4o: {quality: 0.8}\n",
            "line 3, column 3: key 'gpt-4o' stands twice",
        ),
        ("experts:\n  gpt-4o: {qualty: 0.9}\n", "experts.gpt-4o: unknown field 'qualty'; did you mean 'quality'?"),
        ("experts:\n  gpt-4o: {quality: high}\n", "experts.gpt-4o.quality"),
        (RING, "fallbacks go in a circle: gpt-5 -> gpt-4o -> gpt-5"),
        (BOMB, "unfolds to more than"),
        ("experts: [", "experts.yaml: line 1"),
    ],
)
def test_wrong_catalogue_names_its_place(cli: Cli, crew_dir: Path, text: str, told: str) -> None:
    (crew_dir / "experts.yaml").write_text(text, encoding="utf-8")

    done = cli("run", "--config", crew_dir)

    _refused(done)
    assert "experts.yaml" in done.err
    assert told in done.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--budget", "nan"], "budget_usd: 'nan' is no amount of US$; allowed: a finite number from 0"),
        (["--budget", "-1"], "budget_usd: '-1' is no amount"),
        (["--min-quality", "nan"], "min_quality: "),
        (["--min-quality", "2"], "min_quality: "),
        (["--max-latency-ms", "0"], "max_latency_ms: "),
        (["--tier", "premum"], "did you mean 'premium'?"),
        (["--requires", "tool"], "did you mean 'tools'?"),
        (["--risk", "hi"], "allowed: low, medium, high"),
        (["--pin", "gpt-44"], "unknown expert 'gpt-44'; did you mean 'gpt-4o'?"),
        (["--strategy", "scor"], "did you mean 'score'?"),
        (["--task-type", "code_gen"], "did you mean 'code_generation'?"),
        (["--max-output-tokens", "0"], "max_output_tokens: "),
        (["--state", "postgres://user:secret@host/0"], "names no state"),
        (["--config", "no/such/folder"], "no such folder"),
    ],
)
def test_wrong_request_names_its_field(cli: Cli, arguments: list[str], told: str) -> None:
    done = cli("route", "--text", "a", *arguments)

    _refused(done)
    assert told in done.err
    assert "secret" not in done.err


def test_state_that_can_not_be_reached_ends_in_one_line_without_its_password(cli: Cli) -> None:
    done = cli("route", "--text", "a", "--state", "redis://user:secret@127.0.0.1:1/0")

    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "redis://127.0.0.1:1/0 can't be used" in done.err
    assert "secret" not in done.err


def test_nothing_to_decide_about_is_refused(cli: Cli) -> None:
    done = cli("route")

    _refused(done)
    assert "task_type" in done.err


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "is no JSON"),
        ("[1]", "must hold one JSON object"),
        (" ", "there is no text in it"),
        ('{"task_tpe": "testing"}', "unknown field 'task_tpe'; did you mean 'task_type'?"),
        ('{"text": "' + "a" * 4_000_001 + '"}', "is too large"),
    ],
)
def test_wrong_request_file_is_refused(cli: Cli, tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "request.json"
    path.write_text(content, encoding="utf-8")

    done = cli("route", "--request", path)

    _refused(done)
    assert told in done.err


@pytest.mark.parametrize("name", ["missing.txt", "."])
def test_document_that_can_not_be_read_is_refused(cli: Cli, tmp_path: Path, name: str) -> None:
    done = cli("run", tmp_path / name)

    _refused(done)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rules:\n  - {expert: gpt-44}\n", "rules.0.expert: unknown expert 'gpt-44'; did you mean 'gpt-4o'?"),
        ("rules:\n  - {error: 418}\n", "rules.0.error"),
        ("speed: -1\n", "speed"),
    ],
)
def test_wrong_script_names_its_place(cli: Cli, tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "script.yaml"
    path.write_text(text, encoding="utf-8")

    done = cli("run", "--script", path)

    _refused(done)
    assert told in done.err


def test_request_with_a_byte_order_mark_is_read(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "request.json"
    path.write_text('{"text": "Write an API"}', encoding="utf-8-sig")

    assert cli("route", "--request", path).code == 0


TASK = "description: x, expected_output: y, agent"


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize(
    ("tasks", "told"),
    [
        ("", "there is no task in it"),
        (f"a: {{{TASK}: [triager]}}", "a.agent: "),
        (f"a: {{{TASK}: triager, context: 3}}", "a.context: must be a list of names"),
    ],
)
def test_task_that_is_no_task_is_refused(cli: Cli, crew_dir: Path, command: str, tasks: str, told: str) -> None:
    (crew_dir / "tasks.yaml").write_text(tasks, encoding="utf-8")

    done = cli(command, "--config", crew_dir)

    _refused(done)
    assert told in done.err
