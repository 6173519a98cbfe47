"""Who answers the questions of `crew-moe run`."""

from __future__ import annotations

import io
import os
import pty
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from threading import Event

import pytest

from crew_moe.cli.approvers import AtTerminal, Elsewhere, Standing, typed_line
from crew_moe.clock import ManualClock
from crew_moe.domain.approval import Approval, ApprovalState
from crew_moe.domain.expert import Tier
from crew_moe.domain.verdict import GateContext
from crew_moe.gating.approval import Desk
from crew_moe.state.memory.approvals import MemoryApprovals
from crew_moe.state.memory.log import MemoryLog
from crew_moe.telemetry.events import Recorder
from tests.cli.conftest import Cli

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PATIENCE_S = 30.0


@pytest.fixture
def desk() -> Desk:
    return Desk(MemoryApprovals(), clock=ManualClock(NOW), log=MemoryLog(), sink=Recorder(), ttl_s=900)


def _ask(desk: Desk, task: str = "audit") -> Approval:
    context = GateContext(
        expert_id="o1",
        provider="openai",
        tier=Tier.PREMIUM,
        digest=f"digest of {task}",
        max_cost_usd=Decimal("0.15"),
        now=NOW,
        task=task,
    )
    return desk.ask(context, reason="needs approval")


def _at_terminal(desk: Desk, typed: Callable[[], str]) -> tuple[io.StringIO, Event]:
    """A person at a terminal, who has been asked and has answered when the event is set."""
    screen, done = io.StringIO(), Event()

    class Paused(nullcontext[None]):
        def __exit__(self, *_: object) -> None:
            done.set()

    desk.attach(AtTerminal(desk=desk, name="ada", screen=screen, paused=Paused, typed=typed))
    return screen, done


def _answered(desk: Desk, typed: Callable[[], str], task: str = "audit") -> tuple[Approval, str]:
    screen, done = _at_terminal(desk, typed)
    asked = _ask(desk, task)
    assert done.wait(PATIENCE_S)
    found = desk.get(asked.id)
    assert found is not None
    return found, screen.getvalue()


@pytest.mark.parametrize(
    ("typed", "state"),
    [("y\n", "approved"), ("YES \n", "approved"), ("n\n", "denied"), ("\n", "denied"), ("yesterday\n", "denied")],
)
def test_person_at_the_terminal_answers(desk: Desk, typed: str, state: str) -> None:
    found, screen = _answered(desk, lambda: typed)

    assert found.state == state
    assert found.decided_by == "ada"
    assert "Held: premium expert o1 for task audit (risk low), at most $0.15: needs approval\nApprove? [y/N] " in screen


def test_end_of_input_leaves_the_question_open(desk: Desk) -> None:
    found, _ = _answered(desk, lambda: "")

    assert found.state is ApprovalState.PENDING


def test_name_of_a_task_can_not_steer_the_terminal(desk: Desk) -> None:
    _, screen = _answered(desk, lambda: "n\n", task="audit\x1b[2J\x1b]0;owned\x07")

    assert "\x1b" not in screen
    assert "\x07" not in screen


def test_question_that_was_answered_elsewhere_is_told_to_be_closed(desk: Desk) -> None:
    def slow() -> str:
        from crew_moe.gating.approval import Operator

        desk.answer(desk.pending()[0].id, approve=False, by=Operator(name="grace"))
        return "y\n"

    found, screen = _answered(desk, slow)

    assert (found.state, found.decided_by) == (ApprovalState.DENIED, "grace")
    assert "answered before: denied by grace" in screen


def test_questions_are_put_one_after_the_other(desk: Desk) -> None:
    first_is_read, go_on = Event(), Event()
    lines = iter(["y\n", "n\n"])

    def typed() -> str:
        first_is_read.set()
        assert go_on.wait(PATIENCE_S)
        return next(lines)

    screen, _ = _at_terminal(desk, typed)
    one = _ask(desk, "one")
    assert first_is_read.wait(PATIENCE_S)
    two = _ask(desk, "two")
    shown_while_the_first_waits = screen.getvalue()
    go_on.set()

    assert "task two" not in shown_while_the_first_waits
    assert desk.wait(one.id, until=NOW, sleep=lambda _: None) is not None
    for asked, state in ((one, "approved"), (two, "denied")):
        assert _settled(desk, asked) == state


def _settled(desk: Desk, asked: Approval) -> str:
    """How a question was answered; the answer comes from another thread."""
    pause = Event()
    for _ in range(int(PATIENCE_S / 0.01)):
        found = desk.get(asked.id)
        if found is not None and found.state is not ApprovalState.PENDING:
            return found.state
        pause.wait(0.01)
    raise AssertionError("nobody answered")


def test_standing_answer_comes_at_once_under_its_name(desk: Desk) -> None:
    desk.attach(Standing(desk=desk, approve=False, name="nobody", why="there is no terminal"))

    found = desk.get(_ask(desk).id)

    assert found is not None
    assert (found.state, found.decided_by, found.why) == ("denied", "nobody", "there is no terminal")


def test_command_that_answers_is_shown_where_the_state_is_kept(desk: Desk) -> None:
    screen = io.StringIO()
    desk.attach(Elsewhere(screen=screen, state="sqlite:///state.db"))

    asked = _ask(desk)

    assert f"\nAnswer with: crew-moe approve {asked.id} --state sqlite:///state.db\n" in screen.getvalue()


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A terminal in stdin's place; what is written to the descriptor has been typed."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r", encoding="utf-8") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        yield ours
    os.close(ours)


def test_line_is_read_from_the_terminal_and_leaves_it_open(keyboard: int) -> None:
    os.write(keyboard, b"y\nn\n")

    assert [typed_line().strip(), typed_line().strip()] == ["y", "n"]


HELD = """
only:
  description: Write about the sea. The sea is deep. The sea is blue.
  expected_output: Words
  agent: writer
  routing: {tier: premium, approval: premium, deadline_ms: 60000, budget_usd: 0.5}
"""


@pytest.fixture
def held(crew_dir: Path) -> Path:
    """A crew whose only task asks for approval of its premium expert."""
    (crew_dir / "tasks.yaml").write_text(HELD, encoding="utf-8")
    return crew_dir


def test_run_asks_whoever_sits_at_the_terminal(
    cli: Cli, held: Path, keyboard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr("getpass.getuser", lambda: "hopper")
    os.write(keyboard, b"y\n")

    done = cli("run", "--config", held, "--json")

    assert done.code == 0, screen.getvalue()
    assert "Held: premium expert claude-sonnet-4 for task only, at most $0.5" in screen.getvalue()
    assert done.json["tasks"][0]["attempts"][-1]["detail"] == "approved by hopper"


def test_run_without_anybody_to_answer_is_denied_at_once(cli: Cli, held: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())

    done = cli("run", "--config", held, "--json")

    assert done.code == 1
    assert {attempt["error"] for attempt in done.json["tasks"][0]["attempts"]} == {"denied"}
    assert (
        "nobody can answer: there is no terminal, and the state is in memory"
        in done.json["tasks"][0]["attempts"][0]["detail"]
    )


def test_run_over_a_kept_state_is_answered_from_elsewhere(
    cli: Cli, held: Path, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    told = Elsewhere.asked

    def answered(self: Elsewhere, approval: Approval) -> None:
        from crew_moe.gating.approval import Operator
        from crew_moe.router import Router

        told(self, approval)
        with Router.from_config(state=state) as other:
            other.guards.desk.answer(approval.id, approve=True, by=Operator(name="ada"))

    monkeypatch.setattr(Elsewhere, "asked", answered)

    done = cli("run", "--config", held, "--state", state, "--json")

    assert done.code == 0, done.err
    assert f"--state {state}" in done.err
    assert done.json["tasks"][0]["attempts"][-1]["detail"] == "approved by ada"
