"""What every Approvals does, in memory, on disk or on a server."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from crew_moe.domain.approval import Approval, ApprovalState
from crew_moe.errors import InvalidInput
from crew_moe.ports import Approvals
from crew_moe.state import open_approvals
from tests.state.given import NOW, later
from tests.state.questions import TTL, approval_of

THREADS = 8
SOON = later(minutes=1)
EXPIRY = NOW + TTL


@pytest.fixture(params=["memory", "sqlite", "redis"])
def approvals(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Approvals]:
    here = {"memory": ":memory:", "sqlite": f"sqlite:///{tmp_path}/state.db"}
    opened = open_approvals(here.get(request.param) or request.getfixturevalue("redis_url"))
    yield opened
    opened.close()


def answer(
    approvals: Approvals, name: str = "a", *, approve: bool = True, by: str = "ann", at: datetime = SOON
) -> Approval:
    """The approval after an answer, where one is expected."""
    found = approvals.answer(name, approve=approve, by=by, why="fine", now=at)
    assert found is not None
    return found


def use(
    approvals: Approvals,
    name: str = "a",
    *,
    digest: str = "d1",
    expert: str = "o1",
    nano: int = 100,
    at: datetime = SOON,
) -> bool:
    return approvals.use(name, digest=digest, expert_id=expert, max_cost_nano=nano, now=at)


def state(approvals: Approvals, name: str = "a", *, at: datetime = SOON) -> ApprovalState | None:
    found = approvals.get(name, at)
    return None if found is None else found.state


def at_once(work: Callable[[int], object], times: int) -> list[object]:
    """In threads that interrupt each other as often as they can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(work, range(times)))
    finally:
        sys.setswitchinterval(usual)


def test_question_is_kept_as_it_was_asked(approvals: Approvals) -> None:
    whole = replace(
        approval_of("a"),
        summary="premium? 'sí' \ud800\n",
        roles=("lead", "admin"),
        tenant="acme",
        asked_by="bob",
        task="audit",
        decision_id="d-1",
        created_at=later(microseconds=1),
    )

    assert approvals.ask(whole) == whole
    assert approvals.get("a", SOON) == whole
    assert approvals.pending(SOON) == (whole,)


def test_yes_is_used_once(approvals: Approvals) -> None:
    asked = approvals.ask(approval_of("a"))

    yes = answer(approvals)

    assert yes == replace(asked, state=ApprovalState.APPROVED, decided_by="ann", decided_at=SOON, why="fine")
    assert approvals.pending(SOON) == ()
    assert [use(approvals), use(approvals)] == [True, False]
    assert approvals.get("a", SOON) == replace(yes, state=ApprovalState.USED)


def test_no_stays_no(approvals: Approvals) -> None:
    approvals.ask(approval_of("a"))

    no = answer(approvals, approve=False)

    assert no.state is ApprovalState.DENIED
    assert answer(approvals, approve=True, by="eve") == no
    assert not use(approvals)


def test_first_answer_holds_and_both_see_it(approvals: Approvals) -> None:
    approvals.ask(approval_of("a"))

    first = answer(approvals, by="ann")
    second = answer(approvals, approve=False, by="ben", at=later(minutes=2))

    assert second == first == approvals.get("a", SOON)


def test_pending_approval_can_not_be_used(approvals: Approvals) -> None:
    approvals.ask(approval_of("a"))

    assert not use(approvals)
    assert state(approvals) is ApprovalState.PENDING


@pytest.mark.parametrize(
    "wrong", [{"digest": "d2"}, {"digest": ""}, {"expert": "gpt-4o"}, {"nano": 101}, {"nano": 10**30}, {"nano": -1}]
)
def test_approval_is_good_for_its_request_expert_and_price_only(approvals: Approvals, wrong: dict[str, str]) -> None:
    approvals.ask(approval_of("a"))
    answer(approvals)

    assert not use(approvals, **wrong)  # type: ignore[arg-type]  # each of them for its own argument
    assert use(approvals, nano=99)


@pytest.mark.parametrize(
    "forged", ["", "b", "A", "a ", "a\n", "*", "a\0", "\ud800", "\u0430", "x" * 1_000_000, "' OR 1=1 --"]
)
def test_forged_id_opens_nothing(approvals: Approvals, forged: str) -> None:
    approvals.ask(approval_of("a"))
    answer(approvals)

    assert approvals.get(forged, SOON) is None
    assert approvals.answer(forged, approve=True, by="eve", why="", now=SOON) is None
    assert not use(approvals, forged)
    assert state(approvals) is ApprovalState.APPROVED


def test_time_ends_what_was_not_answered(approvals: Approvals) -> None:
    approvals.ask(approval_of("a"))

    assert [one.id for one in approvals.pending(EXPIRY - timedelta(microseconds=1))] == ["a"]
    assert approvals.pending(EXPIRY) == ()
    late = answer(approvals, at=EXPIRY)
    assert (late.state, late.decided_by) == (ApprovalState.EXPIRED, None)


def test_time_ends_what_was_approved_but_not_used(approvals: Approvals) -> None:
    approvals.ask(approval_of("a"))
    answer(approvals)

    assert not use(approvals, at=EXPIRY)
    assert state(approvals, at=EXPIRY) is ApprovalState.EXPIRED


@pytest.mark.parametrize(
    "look",
    [
        lambda approvals: approvals.get("a", EXPIRY),
        lambda approvals: approvals.pending(EXPIRY),
        lambda approvals: approvals.answer("a", approve=True, by="ann", why="", now=EXPIRY),
        lambda approvals: approvals.use("a", digest="d1", expert_id="o1", max_cost_nano=1, now=EXPIRY),
    ],
    ids=["get", "pending", "answer", "use"],
)
def test_clock_that_goes_back_revives_nothing(approvals: Approvals, look: Callable[[Approvals], object]) -> None:
    approvals.ask(approval_of("a"))

    look(approvals)

    assert answer(approvals, at=NOW).state is ApprovalState.EXPIRED
    assert not use(approvals, at=NOW)
    assert approvals.pending(NOW) == ()


def test_same_question_finds_the_one_that_is_open(approvals: Approvals) -> None:
    first = approvals.ask(approval_of("a"))

    assert approvals.ask(approval_of("b", created_at=SOON)) == first
    assert approvals.ask(approval_of("b", nano=99)) == first
    yes = answer(approvals)
    assert approvals.ask(approval_of("b")) == yes
    assert approvals.get("b", SOON) is None


@pytest.mark.parametrize("other", [{"digest": "d2"}, {"expert_id": "o3"}, {"tenant": "acme"}, {"max_cost_nano": 101}])
def test_other_question_is_asked_anew(approvals: Approvals, other: dict[str, str]) -> None:
    approvals.ask(approval_of("a"))
    asked = replace(approval_of("b"), **other)  # type: ignore[arg-type]  # each of them for its own field

    assert approvals.ask(asked) == asked
    assert [one.id for one in approvals.pending(SOON)] == ["a", "b"]


def test_question_about_what_is_no_longer_open_is_asked_anew(approvals: Approvals) -> None:
    approvals.ask(approval_of("denied"))
    answer(approvals, "denied", approve=False)
    approvals.ask(approval_of("used"))
    answer(approvals, "used")
    use(approvals, "used")
    approvals.ask(approval_of("expired"))

    asked = approval_of("new", created_at=EXPIRY)

    assert approvals.ask(asked) == asked


def test_answered_question_is_found_before_a_pending_one(approvals: Approvals) -> None:
    approvals.ask(approval_of("cheap"))
    approvals.ask(approval_of("dear", nano=200, created_at=SOON))
    yes = answer(approvals, "dear", at=later(minutes=2))

    assert approvals.ask(approval_of("again", created_at=later(minutes=3))) == yes


def test_id_of_another_approval_is_not_taken_over(approvals: Approvals) -> None:
    approvals.ask(approval_of("a"))
    answer(approvals)
    use(approvals)

    with pytest.raises(InvalidInput, match="there is an approval 'a' already"):
        approvals.ask(approval_of("a"))
    assert state(approvals) is ApprovalState.USED


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": "two words"},
        {"id": "x" * 201},
        {"state": ApprovalState.APPROVED},
        {"max_cost_nano": -1},
        {"expires_at": NOW},
    ],
)
def test_approval_that_nobody_could_answer_is_not_asked_for(approvals: Approvals, wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match=f"an approval can't be asked for with {next(iter(wrong))} "):
        approvals.ask(replace(approval_of("a"), **wrong))  # type: ignore[arg-type]  # wrong on purpose

    assert approvals.pending(NOW) == ()


def test_pending_ones_come_oldest_first(approvals: Approvals) -> None:
    for name, minutes in (("c", 3), ("a", 2), ("b", 2)):
        approvals.ask(approval_of(name, digest=name, created_at=later(minutes=minutes)))

    assert [one.id for one in approvals.pending(later(minutes=4))] == ["a", "b", "c"]


def test_finished_ones_are_forgotten_after_thirty_days(approvals: Approvals) -> None:
    approvals.ask(approval_of("a"))
    answer(approvals, approve=False)
    end = EXPIRY + timedelta(days=30)

    assert state(approvals, at=end - timedelta(microseconds=1)) is ApprovalState.DENIED
    assert approvals.get("a", end) is None
    assert approvals.answer("a", approve=True, by="ann", why="", now=end) is None
    again = approval_of("a", created_at=end)
    assert approvals.ask(again) == again == approvals.get("a", end)


def test_of_many_answers_at_once_one_holds_for_all(approvals: Approvals) -> None:
    names = [f"a{number}" for number in range(10)]
    for name in names:
        approvals.ask(approval_of(name, digest=name))

    seen = at_once(lambda n: answer(approvals, names[n // 8], approve=n % 2 == 0, by=f"person {n}"), 80)

    for number, name in enumerate(names):
        assert set(map(str, seen[8 * number : 8 * number + 8])) == {str(approvals.get(name, SOON))}


def test_of_many_uses_at_once_one_succeeds(approvals: Approvals) -> None:
    names = [f"a{number}" for number in range(10)]
    for name in names:
        approvals.ask(approval_of(name, digest=name))
        answer(approvals, name)

    done = at_once(lambda n: use(approvals, names[n // 8], digest=names[n // 8]), 80)

    assert [sum(map(bool, done[8 * number : 8 * number + 8])) for number in range(10)] == [1] * 10


def test_of_many_who_ask_the_same_at_once_all_get_one_question(approvals: Approvals) -> None:
    at_once(lambda n: approvals.ask(approval_of(f"a{n}", digest=f"d{n // 8}")), 240)

    assert sorted(one.digest for one in approvals.pending(SOON)) == sorted(f"d{number}" for number in range(30))


def test_close_may_be_called_twice(approvals: Approvals) -> None:
    approvals.close()
    approvals.close()
