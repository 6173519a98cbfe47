"""Several processes at one store: nothing passes that has no room, nothing is answered or used twice, nor lost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from crew_moe.state import open_approvals, open_meters, open_pages
from tests.state.given import NOW
from tests.state.questions import approval_of
from tests.state.rivals import ATTEMPTS, COUNTED, QUESTIONS

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
NAMES = ("ann", "ben", "cid")


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/state.db" if request.param == "sqlite" else str(request.getfixturevalue("redis_url"))


def _started(what: str, url: str, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.state.rivals", what, url, name]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _got(what: str, url: str, names: Sequence[str] = NAMES) -> list[list[str]]:
    """What each of the rivals got, all of them begun at once."""
    with ExitStack() as stack:
        rivals = [stack.enter_context(_started(what, url, name)) for name in names]
        for rival in rivals:
            assert rival.stdout is not None
            assert rival.stdout.readline() == "ready\n"
        for rival in rivals:
            assert rival.stdin is not None
            rival.stdin.write("go\n")
            rival.stdin.flush()
        return [rival.communicate(timeout=PATIENCE_S)[0].split() for rival in rivals]


def test_processes_take_and_give_back_no_more_than_there_is(url: str) -> None:
    passages = _got("takes", url)
    meters = open_meters(url)

    kept = sum(len(mine) // 2 for mine in passages)
    total = sum(map(len, passages))
    assert 30 <= total <= len(NAMES) * ATTEMPTS
    assert kept <= 30
    assert len({one for mine in passages for one in mine}) == total
    status = meters.status("expert:a", NOW)
    assert (status.in_use, status.levels["requests"]) == (kept, 50.0 - kept)
    assert meters.status("cooldown:c", NOW).levels["calls"] == 1_000.0 - kept
    meters.close()


def test_each_question_is_asked_by_one_process(url: str) -> None:
    asked = _got("asks", url)

    assert sorted(one for mine in asked for one in mine) == sorted(QUESTIONS)


def test_each_question_is_answered_and_used_by_one_process(url: str) -> None:
    approvals = open_approvals(url)
    for one in QUESTIONS:
        approvals.ask(approval_of(one, digest=one))

    answered = _got("answers", url)
    used = _got("uses", url)

    assert sorted(one for mine in answered for one in mine) == sorted(QUESTIONS)
    assert sorted(one for mine in used for one in mine) == sorted(QUESTIONS)
    approvals.close()


def test_processes_lose_no_update_of_a_page(url: str) -> None:
    counted = _got("counts", url, NAMES[:2])
    pages = open_pages(url)

    page = pages.read("number", NOW)

    assert [len(mine) for mine in counted] == [COUNTED] * 2
    assert page is not None
    assert int(page.content) == 2 * COUNTED
    pages.close()
