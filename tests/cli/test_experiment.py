"""`crew-moe experiment`."""

from __future__ import annotations

from pathlib import Path

import pytest

from crew_moe import Decision, Outcome, Router, RoutingRequest
from crew_moe.telemetry.events import Recorder
from tests.cli.conftest import Cli


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
    file = tmp_path / "candidate.yaml"
    file.write_text("weights: {cost: 90, quality: 5}  # cheap\n", encoding="utf-8")
    return file


@pytest.fixture(autouse=True)
def _dealt_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same sessions are in the same arms in every run of the tests."""
    monkeypatch.setattr("crew_moe.experiments.new_salt", lambda: "salt")


def _work(state: str, count: int, *, better: str) -> None:
    """Sessions in which one arm always succeeds, and the other every second time."""
    with Router.from_config(state=state, sink=Recorder()) as router:
        for number in range(count):
            made = router.decide(RoutingRequest(task_type="planning", session_key=f"s{number}"))
            assert isinstance(made, Decision)
            row = router.outcomes.decision(made.decision_id)
            good = row.get("experiment", {}).get("arm") == better or number % 2 == 0
            router.record(Outcome(decision_id=made.decision_id, expert_id=made.expert_id, success=good))


def test_start_tells_what_it_takes(cli: Cli, state: str, candidate: Path) -> None:
    done = cli("experiment", "start", "cheap", "--candidate", candidate, "--mde", "0.05", "--state", state)

    assert done.code == 0
    assert "The candidate gets 50% of all sessions" in done.out
    assert "after about 3,335 results of the control and 3,335 of the candidate" in " ".join(done.out.split())


def test_start_as_json_is_the_whole_plan(cli: Cli, state: str, candidate: Path) -> None:
    options = ("--share", "0.2", "--guardrail", "success:0.01", "--by", "risk", "--state", state, "--json")

    made = cli("experiment", "start", "cheap", "--candidate", candidate, *options).json

    assert (made["share"], made["guardrails"]["success"], made["by"], made["mode"]) == (0.2, 0.01, "risk", "ab")
    assert made["results_needed"]["control"] == pytest.approx(4 * made["results_needed"]["candidate"], rel=0.001)
    assert made["candidate"] != made["control"]


def test_status_tells_who_wins_and_how_to_adopt_it(cli: Cli, state: str, candidate: Path) -> None:
    guard = ("--guardrail", "violations:0.2", "--guardrail", "infeasible:0.2")
    cli("experiment", "start", "cheap", "--candidate", candidate, "--mde", "0.2", *guard, "--state", state)
    _work(state, 160, better="candidate")

    shown = cli("experiment", "status", "cheap", "--state", state)
    told = cli("experiment", "status", "cheap", "--state", state, "--json").json

    assert "The candidate is better in reward" in shown.out
    assert "crew-moe experiment status cheap --candidate" in shown.out
    assert (told["verdict"], told["state"]) == ("candidate_wins", "running")
    assert sum(told["decisions"].values()) == 160
    assert cli("experiment", "status", "cheap", "--candidate", "--state", state).out == candidate.read_text()


def test_guardrails_are_told_however_narrow_the_terminal(
    cli: Cli, state: str, candidate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    cli("experiment", "start", "cheap", "--candidate", candidate, "--by", "task_type", "--state", state)

    shown = " ".join(cli("experiment", "status", "cheap", "--state", state).out.split())
    told = cli("experiment", "status", "cheap", "--state", state, "--json").json

    assert "Guardrails: success untold (0.02), violations untold (0.01)" in shown
    assert told["main"]["control"] == {"n": 0, "mean": None}


def test_status_lists_all_and_says_what_was_stopped(cli: Cli, state: str, candidate: Path) -> None:
    assert cli("experiment", "status", "--state", state).out == "There are no experiments.\n"
    cli("experiment", "start", "cheap", "--candidate", candidate, "--mde", "0.2", "--state", state)
    _work(state, 160, better="control")

    assert "ended" in cli("experiment", "status", "--state", state).out
    assert [one["verdict"] for one in cli("experiment", "status", "--state", state, "--json").json] == ["harmed"]
    assert "does harm in success: it was stopped" in cli("experiment", "status", "cheap", "--state", state).out


def test_stop_keeps_who_won(cli: Cli, state: str, candidate: Path) -> None:
    cli("experiment", "start", "cheap", "--candidate", candidate, "--mode", "shadow", "--state", state)
    _work(state, 3, better="control")
    assert "chooses the same expert" in cli("experiment", "status", "cheap", "--state", state).out

    done = cli("experiment", "stop", "cheap", "--winner", "candidate", "--state", state)

    assert done.out.startswith("cheap has ended; every session is back to the policy in force.")
    told = cli("experiment", "status", "cheap", "--state", state, "--json").json
    assert (told["state"], told["winner"]) == ("ended", "candidate")
    assert cli("experiment", "stop", "cheap", "--state", state).code == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("start", "b", "--candidate", "{file}"), "experiment 'cheap' is running, and one runs at a time"),
        (("start", "cheap", "--candidate", "{file}"), "there is an experiment 'cheap' already"),
        (("start", "b", "--candidate", "nowhere.yaml"), "nowhere.yaml"),
        (("start", "b", "--candidate", "{file}", "--guardrail", "success"), "'success' is no guardrail"),
        (("start", "b", "--candidate", "{file}", "--metric", "rewrd"), "did you mean 'reward'?"),
        (("status", "chaep"), "did you mean 'cheap'?"),
        (("status", "--candidate"), "--candidate: of which experiment; allowed: NAME --candidate"),
        (("stop", "chaep"), "did you mean 'cheap'?"),
        (("stop", "cheap", "--winner", "me"), "--winner: 'me' is not known"),
    ],
)
def test_wrong_words_are_refused(cli: Cli, state: str, candidate: Path, arguments: tuple[str, ...], told: str) -> None:
    cli("experiment", "start", "cheap", "--candidate", candidate, "--state", state)

    done = cli("experiment", *(one.format(file=candidate) for one in arguments), "--state", state)

    assert done.code == 2
    assert told in done.err


def test_candidate_with_a_mistake_is_refused_before_anything_is_written(cli: Cli, state: str, tmp_path: Path) -> None:
    file = tmp_path / "candidate.yaml"
    file.write_text("weights: {costs: 90}\n", encoding="utf-8")

    done = cli("experiment", "start", "cheap", "--candidate", file, "--state", state)

    assert (done.code, "did you mean 'cost'?" in done.err) == (2, True)
    assert cli("experiment", "status", "--state", state, "--json").json == []


def test_experiment_needs_a_state_that_lasts(cli: Cli, candidate: Path) -> None:
    done = cli("experiment", "start", "cheap", "--candidate", candidate)

    assert (done.code, "an experiment needs a state that outlives this command" in done.err) == (2, True)
