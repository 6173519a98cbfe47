"""`crew-moe feedback` and `crew-moe learn forget`."""

from __future__ import annotations

from pathlib import Path

import pytest

from crew_moe import Router, RoutingRequest
from tests.cli.conftest import Cli


def _decided(cli: Cli, state: str, *arguments: str) -> str:
    asked = cli("route", "--task-type", "planning", "--text", "a", "--state", state, "--json", *arguments)
    return str(asked.json["decision_id"])


def test_a_rating_is_recorded_once_for_each_source(cli: Cli, state: str) -> None:
    decision = _decided(cli, state)
    rated = ("feedback", decision, "--source", "anna", "--rating", "5", "--state", state)

    first, again = cli(*rated), cli(*rated)

    assert first.out == "Recorded: a reward of 1.00.\n"
    assert (again.code, again.out) == (0, "anna has judged this decision before; nothing was changed.\n")


def test_all_that_can_be_said_makes_one_reward(cli: Cli, state: str) -> None:
    decision = _decided(cli, state)
    told = ("--outcome", "partial", "--quality", ".7", "--rating", "3", "--pr-merged", "--pr-reverted")

    done = cli("feedback", decision, "--source", "ci", *told, "--state", state, "--json")

    assert done.json == {"recorded": True, "reward": pytest.approx(0.25), "weight": 1.0}


def test_a_source_that_rates_much_counts_less_and_is_told_so(cli: Cli, state: str, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("learning: {client_cap: 1}", encoding="utf-8")
    for _ in range(2):
        decision = _decided(cli, state, "--config", str(tmp_path))
        rate = ("feedback", decision, "--source", "bot", "--rating", "5", "--state", state)
        done = cli(*rate, "--config", tmp_path)

    assert "counts 0.00 of a judgement" in done.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--source", "a"), "feedback: say what the answer was worth; allowed: --outcome, --quality"),
        (("--source", "a", "--outcome", "succes"), "--outcome: 'succes' is not known; did you mean 'success'?"),
        (("--source", "a", "--rating", "6"), "Invalid value for '--rating': Input should be less than or equal to 5"),
        (("--source", "a", "--quality", "2"), "Invalid value for '--quality': Input should be less than or equal to 1"),
        (("--rating", "5"), "Missing option '--source'"),
        (("--source", "a", "--rating", "5"), "unknown decision 'd-0'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(cli: Cli, state: str, arguments: tuple[str, ...], told: str) -> None:
    done = cli("feedback", "d-0", *arguments, "--state", state)

    assert done.code == 2
    assert told in done.err
    assert done.err.count("\n") == 1


def test_feedback_needs_a_state_that_lasts(cli: Cli) -> None:
    assert (
        "feedback needs a state that outlives this command"
        in cli("feedback", "d-0", "--source", "a", "--rating", "5").err
    )


def test_forgetting_erases_what_was_learned_of_a_user(
    cli: Cli, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREW_MOE_LOG_KEY", "k" * 32)
    (tmp_path / "policy.yaml").write_text("learning: {preferences: {samples: 20}}", encoding="utf-8")
    known = ("--state", state, "--config", str(tmp_path))
    with Router.from_config(tmp_path, state=state) as router:
        decision = router.decide(RoutingRequest(task_type="planning", user="anna"))
    cli("feedback", decision.decision_id, "--source", "c7", "--rating", "5", *known)

    assert cli("learn", "forget", "ben", *known).out == "Nothing was known of this user.\n"
    assert cli("learn", "forget", "anna", *known).out == "What was learned of this user is erased.\n"
    assert cli("learn", "forget", "anna", *known, "--json").json == {"erased": 0}


def test_forgetting_needs_the_key_that_users_are_known_by(cli: Cli, state: str) -> None:
    done = cli("learn", "forget", "anna", "--state", state)

    assert done.code == 2
    assert done.err.startswith("error: CREW_MOE_LOG_KEY: users are known by digests with a key, which is not set")
