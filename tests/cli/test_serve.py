"""`crew-moe serve`: what it is told, what it says, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
import typer.main

from crew_moe.cli.app import app
from crew_moe.settings import Settings
from tests.cli.conftest import Cli
from tests.service.program import serving

COMMAND: Any = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
TASK = {"text": "Summarise the minutes of Monday's meeting."}
OPTIONS = {option for parameter in COMMAND.params for option in parameter.opts}
ROUTE = "/api/v1/route"
SECRET = "c2VjcmV0LW9mLXNvbWVib2R5"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_answers_and_stops_quietly(number: int, tmp_path: Path) -> None:
    with serving(tmp_path) as program:
        with program.client() as client:
            assert client.post(ROUTE, json=TASK).json()["ok"]
        code = program.end(number)

        assert (code, program.said, program.printed) == (0, f"Serving at {program.url}\n", "")


def test_flags_stand_above_their_twins_and_requests_are_logged(tmp_path: Path) -> None:
    twins = {"CREW_MOE_SERVE_RATE": "1/hour", "CREW_MOE_SERVE_MAX_BODY_BYTES": "2048"}
    logging = {"CREW_MOE_LOG_FORMAT": "json", "CREW_MOE_LOG_LEVEL": "info"}

    with serving(tmp_path, "--rate", "7/hour", env=twins | logging) as program, program.client() as client:
        routed = client.post(ROUTE, json=TASK, headers={"X-Request-ID": "mine"})
        refused = client.post(ROUTE, json={"text": "x" * 3000})
        program.end()
        lines = [json.loads(line) for line in program.said.splitlines()[1:]]

    assert "q=7;" in routed.headers["RateLimit-Policy"]
    assert refused.status_code == 413
    (line,) = [line for line in lines if line.get("request_id") == "mine" and line["event"] == "request"]
    assert (line["route"], line["status"]) == (ROUTE, 200)


@pytest.mark.parametrize("flag", sorted(OPTIONS - {"--config", "--state", "--help"}))
def test_flag_has_a_twin(flag: str) -> None:
    name = f"serve_{flag.removeprefix('--').replace('-', '_')}"

    assert {name, f"{name}s"} & set(Settings.model_fields)


@pytest.mark.accept
def test_workers_answer_as_one_and_end_as_one(redis_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "2", "--state", redis_url) as program:
        with program.client() as client:
            assert client.get("/ready").json() == {"status": "ready"}

        assert (program.end(), program.said) == (0, f"Serving at {program.url}, 2 workers\n")


def test_simulated_providers_answer_without_keys(tmp_path: Path) -> None:
    with serving(tmp_path, "--simulate") as program, program.client() as client:
        body = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}
        answer = client.post("/v1/chat/completions", json=body)

        assert answer.status_code == 200, answer.text
        assert program.said == f"Serving at {program.url}, simulated providers\n"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--host", "0.0.0.0"), "--host: 0.0.0.0 can be reached from other machines"),  # noqa: S104 - refused
        (("--workers", "2"), "--workers: workers share budgets, breakers, rates and live events in Redis alone"),
        (("--workers", "2", "--state", "sqlite:///state.db"), "--workers: workers share budgets"),
        (("--dev", "--host", "192.0.2.1"), "--dev: is for this machine alone"),
        (("--live", "--simulate"), "--simulate: simulated providers are not live ones"),
        (("--rate", "often"), "--rate: is no rate; allowed: COUNT/second"),
        (("--config", "nowhere"), "nowhere: no such folder"),
        (("--timeout-s", "0"), "Invalid value for '--timeout-s'"),
    ],
)
def test_what_can_not_be_served_is_one_line(
    cli: Cli, flags: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    forget_what_is_handed_down(monkeypatch)

    done = cli("serve", "--port", "0", *flags)

    assert done.code == 2
    assert done.err.startswith(f"error: {told}")
    assert (done.err.count("\n"), done.out) == (1, "")


def test_port_in_use(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_what_is_handed_down(monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = cli("serve", "--port", port)

    assert done.code == 2
    assert done.err == f"error: --port: can't listen on 127.0.0.1, port {port}: Address already in use\n"


def test_state_that_is_not_there(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_what_is_handed_down(monkeypatch)

    done = cli("serve", "--port", "0", "--state", f"redis://:{SECRET}@127.0.0.1:1/0")

    assert done.code == 1
    assert "127.0.0.1:1/0 can't be used" in done.err
    assert SECRET not in done.err
    assert done.err.count("\n") == 1


def test_tokens_half_set_up(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREW_MOE_JWT_KEYS", SECRET)

    done = cli("serve")

    assert done.code == 2
    assert done.err.endswith("not set: CREW_MOE_JWT_ISSUER, CREW_MOE_JWT_AUDIENCE\n")
    assert SECRET not in done.err + done.out


def forget_what_is_handed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command sets its twins for its workers; the next test has none of them."""
    for name in Settings.model_fields:
        monkeypatch.setenv(f"CREW_MOE_{name.upper()}", "")
