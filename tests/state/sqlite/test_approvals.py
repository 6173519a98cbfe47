"""What the approvals on disk alone promise: a restart loses none, not even by a power cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from crew_moe.domain.approval import ApprovalState
from crew_moe.errors import StateError
from crew_moe.state import open_approvals, open_log
from crew_moe.state.sqlite.approvals import SQLiteApprovals
from tests.state.given import NOW, later, row_of
from tests.state.questions import TTL, approval_of

FULL = 2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def test_restart_finds_its_pending_approval(path: Path) -> None:
    first = SQLiteApprovals(path)
    asked = first.ask(approval_of("a"))
    first.close()
    second = SQLiteApprovals(path)

    assert second.pending(NOW) == (asked,)
    assert second.ask(approval_of("b", created_at=later(minutes=1))) == asked
    second.close()


def test_every_change_reaches_the_disk_before_it_is_told(path: Path) -> None:
    approvals = SQLiteApprovals(path)

    with approvals._database.reading() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (FULL,)
    approvals.close()


def test_approvals_and_log_share_one_file(path: Path) -> None:
    url = f"sqlite:///{path}"
    approvals, log = open_approvals(url), open_log(url)
    log.append("d1", row_of(1))
    log.flush()

    approvals.ask(approval_of("a"))

    assert log.get("d1") is not None
    assert len(approvals.pending(NOW)) == 1
    approvals.close()
    log.close()


def test_forgotten_rows_go_when_the_next_question_comes(path: Path) -> None:
    approvals = SQLiteApprovals(path)
    for days in (0, 1, 40):
        approvals.ask(approval_of(f"a{days}", created_at=later(days=days)))

    with approvals._database.reading() as connection:
        assert connection.execute("SELECT id FROM approvals").fetchall() == [("a40",)]
    approvals.close()


def test_end_of_an_approval_is_noted_on_disk(path: Path) -> None:
    approvals = SQLiteApprovals(path)
    approvals.ask(approval_of("a"))
    assert approvals.pending(NOW + TTL) == ()

    with approvals._database.reading() as connection:
        assert connection.execute("SELECT state FROM approvals").fetchone() == (ApprovalState.EXPIRED,)
    approvals.close()


def test_closed_file_is_one_clear_error(path: Path) -> None:
    approvals = SQLiteApprovals(path)
    approvals.close()

    with pytest.raises(StateError, match="is closed"):
        approvals.get("a", NOW)
