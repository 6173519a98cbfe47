"""`crew-moe doctor`: what it finds, and what it keeps to itself."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from crew_moe.cli.doctor import EXTRAS
from crew_moe.sim import simulate
from tests.cli.conftest import Cli
from tests.redis_server import RedisServer

ROOT = Path(__file__).resolve().parents[2]


def _named(checks: list[dict[str, Any]], topic: str, name: str) -> dict[str, Any]:
    return next(check for check in checks if (check["topic"], check["name"]) == (topic, name))


def _with_local(folder: Path, url: str) -> Path:
    text = f"experts:\n  local/vllm: {{enabled: true, base_url: '{url}'}}\n"
    (folder / "experts.yaml").write_text(text, encoding="utf-8")
    return folder


def test_healthy_installation_exits_0(cli: Cli) -> None:
    done = cli("doctor")

    assert done.code == 0
    assert "crewai, summa" in done.out
    assert "forgotten when a command ends" in done.out


def test_keys_are_named_and_never_shown(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")

    done = cli("doctor", "--json")

    assert _named(done.json, "key", "OPENAI_API_KEY")["state"] == "ok"
    assert _named(done.json, "key", "COHERE_API_KEY")["state"] == "absent"
    assert "sk-very-secret" not in done.out + done.err


def test_self_hosted_expert_that_answers_is_ok(cli: Cli, crew_dir: Path) -> None:
    with simulate(speed=0) as providers:
        checks = cli("doctor", "--config", _with_local(crew_dir, providers.base_url), "--json").json

    assert _named(checks, "expert", "local/vllm")["state"] == "ok"
    assert _named(checks, "expert", "local/ollama")["state"] == "absent"
    assert _named(checks, "expert", "local/extractive")["state"] == "ok"


def test_a_password_in_an_address_is_never_shown(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREW_MOE_LOCAL_URL", "http://me:hunter2@127.0.0.1:9/v1")

    done = cli("doctor", "--json")

    assert "http://" in _named(done.json, "expert", "local/auto")["detail"]
    assert "hunter2" not in done.out + done.err


def test_self_hosted_expert_that_is_silent_is_a_problem(cli: Cli, crew_dir: Path) -> None:
    with simulate(speed=0) as providers:
        gone = providers.base_url

    done = cli("doctor", "--config", _with_local(crew_dir, gone), "--json")

    assert done.code == 1
    assert "no answer" in _named(done.json, "expert", "local/vllm")["detail"]


def test_hosted_experts_tell_what_they_lack(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREW_MOE_MODELS", str(tmp_path))

    checks = cli("doctor", "--json").json

    assert _named(checks, "expert", "local/auto")["detail"] == "in this process: extractive"
    assert _named(checks, "expert", "local/byt5")["state"] == "absent"
    assert _named(checks, "expert", "local/byt5")["detail"]


def test_wrong_configuration_is_a_problem_and_no_crash(cli: Cli, crew_dir: Path) -> None:
    (crew_dir / "policy.yaml").write_text("strategy: scoer\n", encoding="utf-8")

    done = cli("doctor", "--config", crew_dir)

    assert done.code == 1
    assert "did you mean" in " ".join(done.out.split())


def test_state_that_can_not_be_kept_is_a_problem(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")

    done = cli("doctor", "--state", f"sqlite:///{tmp_path}/file/state.db", "--json")

    assert done.code == 1
    assert _named(done.json, "state", "store")["state"] == "problem"


def test_password_of_a_state_is_never_shown(cli: Cli) -> None:
    done = cli("doctor", "--state", "redis://user:secret@127.0.0.1:1/0", "--json")

    assert {check["name"]: check["state"] for check in done.json if check["topic"] == "state"} == {
        "store": "problem",
        "budgets": "problem",
    }
    assert "secret" not in done.out + done.err


def test_redis_that_may_lose_money_is_a_problem_of_budgets_alone(cli: Cli, tmp_path: Path) -> None:
    careless = RedisServer(tmp_path, "--appendonly", "no")
    careless.start()
    try:
        checks = cli("doctor", "--state", careless.url, "--json").json
    finally:
        careless.stop()

    assert _named(checks, "state", "store")["state"] == "ok"
    assert _named(checks, "state", "budgets")["state"] == "problem"
    assert "set 'appendonly yes'" in _named(checks, "state", "budgets")["detail"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("gate: {checks: [has_any_rol]}\n", "did you mean 'has_any_role'?"),
        ("access: [{name: x, forbid: {tiers: [premum]}}]\n", "did you mean 'premium'?"),
    ],
)
def test_wrong_gate_or_access_rule_is_a_problem(cli: Cli, crew_dir: Path, text: str, told: str) -> None:
    (crew_dir / "policy.yaml").write_text(text, encoding="utf-8")

    done = cli("doctor", "--config", crew_dir, "--json")

    assert done.code == 1
    assert told in _named(done.json, "config", str(crew_dir))["detail"]


def test_every_extra_is_looked_at() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert set(EXTRAS) == project["optional-dependencies"].keys() - {"all", "dev"}
