"""`crew-moe approve`: questions that held calls wait for, and their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from crew_moe.domain.approval import Approval, ApprovalState
from crew_moe.ports import Approvals
from crew_moe.router import Router
from crew_moe.state import open_approvals
from tests.cli.conftest import Cli, Done

Approve = Callable[..., Done]
ID = "7h3kq9m2x5c8v4n6b1p0r7t2wd"


@pytest.fixture
def approve(cli: Cli, state: str, monkeypatch: pytest.MonkeyPatch) -> Approve:
    """`crew-moe approve` over the state of this test."""
    monkeypatch.setenv("CREW_MOE_STATE", state)
    return partial(cli, "approve")


@pytest.fixture
def approvals(state: str) -> Iterator[Approvals]:
    """The same questions, as a crew asks them."""
    opened = open_approvals(state)
    yield opened
    opened.close()


def _asked(approvals: Approvals, approval_id: str = ID, *, ttl_s: float = 900.0, by: str | None = None) -> Approval:
    now = datetime.now(UTC)
    return approvals.ask(
        Approval(
            id=approval_id,
            digest=f"digest of {approval_id}",
            expert_id="o1",
            max_cost_nano=150_000_000,
            state=ApprovalState.PENDING,
            summary="premium expert o1 for task audit (security_audit, risk high), at most $0.15: needs approval",
            asked_by=by,
            task="audit",
            created_at=now - timedelta(hours=1),
            expires_at=now + timedelta(seconds=ttl_s),
        )
    )


def _state_of(approvals: Approvals, approval_id: str = ID) -> ApprovalState:
    found = approvals.get(approval_id, datetime.now(UTC))
    assert found is not None
    return found.state


def test_what_waits_is_listed_with_its_id(approve: Approve, approvals: Approvals) -> None:
    _asked(approvals, by="ada")

    done = approve()

    assert done.code == 0
    assert ID in done.out
    assert "at most $0.15" in " ".join(done.out.split())
    assert approve("--json").json["pending"][0]["asked_by"] == "ada"


def test_nothing_waits(approve: Approve) -> None:
    assert approve().out == "Nothing waits for an answer.\n"
    assert approve("--json").json == {"pending": []}


def test_ids_stay_whole_in_eighty_columns(
    approve: Approve, approvals: Approvals, monkeypatch: pytest.MonkeyPatch
) -> None:
    _asked(approvals, by="a very long name of somebody who asks for much")
    monkeypatch.setenv("COLUMNS", "80")

    done = approve()

    assert ID in done.out
    assert all(len(line) <= 80 for line in done.out.splitlines())


@pytest.mark.parametrize(
    ("options", "state_after", "said"), [((), "approved", "approved by Ada"), (("--deny",), "denied", "denied by Ada")]
)
def test_answer_counts(
    approve: Approve, approvals: Approvals, options: tuple[str, ...], state_after: str, said: str
) -> None:
    _asked(approvals)

    done = approve(ID, *options, "--by", "Ada")

    assert (done.code, done.err) == (0, "")
    assert said in " ".join(done.out.split())
    assert _state_of(approvals) == state_after


def test_first_six_characters_are_enough(approve: Approve, approvals: Approvals) -> None:
    _asked(approvals)

    done = approve(ID[:6], "--json")

    assert (done.code, done.json["ok"], done.json["outcome"]) == (0, True, "taken")
    assert done.json["approval"]["id"] == ID


def test_answer_is_in_the_log_with_who_and_why(approve: Approve, approvals: Approvals, state: str) -> None:
    _asked(approvals)

    approve(ID, "--by", "Ada", "--why", "one release only")

    with Router.from_config(state=state) as router:
        (row,) = [row for row in router.log.tail(10) if row.get("kind") == "approval_answered"]
    assert (row["by"], row["why"], row["state"]) == ("Ada", "one release only", "approved")


def test_second_answer_changes_nothing(approve: Approve, approvals: Approvals) -> None:
    _asked(approvals)
    approve(ID, "--by", "Ada")

    done = approve(ID, "--deny", "--by", "Grace")

    assert (done.code, done.out) == (1, "")
    assert "answered before: approved by Ada" in done.err
    assert _state_of(approvals) is ApprovalState.APPROVED


def test_nobody_answers_his_own_request(approve: Approve, approvals: Approvals) -> None:
    _asked(approvals, by="ada")

    done = approve(ID, "--by", "Ada", "--json")

    assert (done.code, done.json["outcome"]) == (1, "own_request")
    assert _state_of(approvals) is ApprovalState.PENDING


def test_late_answer_is_refused(approve: Approve, approvals: Approvals) -> None:
    _asked(approvals, ttl_s=-1.0)

    done = approve(ID, "--json")

    assert (done.code, done.json["outcome"]) == (1, "expired")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("0000000", "no such approval waits for an answer"),
        ("7h3", "give more of its id (6 characters at least)"),
        ("7h3kq9", "no single approval begins so"),
        ("7h3kq9m2\u200b", "no such approval waits for an answer"),
        ("x" * 500, "no such approval waits for an answer"),
    ],
)
def test_id_that_names_no_single_question_is_refused(
    approve: Approve, approvals: Approvals, given: str, told: str
) -> None:
    for approval_id in (ID, f"{ID[:-1]}x"):
        _asked(approvals, approval_id)

    done = approve(given)

    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert told in done.err
    assert _state_of(approvals) is ApprovalState.PENDING


def test_memory_holds_no_questions_of_other_processes(cli: Cli) -> None:
    done = cli("approve", "--state", ":memory:")

    assert done.code == 2
    assert "an approval needs a state that outlives this command" in done.err
