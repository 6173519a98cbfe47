"""Approvals as values: their ids, their table of transitions, and how they are written down."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest

from crew_moe.domain.approval import ApprovalState
from crew_moe.state.approval import (
    OPEN,
    TRANSITIONS,
    Signal,
    answered,
    as_of,
    covering,
    from_text,
    is_id,
    new_approval_id,
    subject,
    to_text,
    used,
)
from tests.state.given import NOW, later
from tests.state.questions import TTL, approval_of

WHOLE = replace(
    approval_of("a"),
    roles=("lead", "адмін"),
    tenant="acme",
    asked_by="bob",
    task="audit",
    decision_id="d-1",
    summary="\ud800 'quoted'\n",
    decided_by="ann",
    decided_at=later(seconds=1),
    why="",
)


def test_ids_are_long_easy_to_type_and_never_the_same() -> None:
    ids = {new_approval_id() for _ in range(2_000)}

    assert len(ids) == 2_000
    assert all(len(one) == 26 and is_id(one) for one in ids)
    assert set("".join(ids)) == set("0123456789abcdefghjkmnpqrstvwxyz")  # 5 bits each: 130 in all


def test_nothing_leaves_a_final_state() -> None:
    assert {before for before, _ in TRANSITIONS} == OPEN


@pytest.mark.parametrize(("state", "signal"), list(product(ApprovalState, Signal)))
def test_each_signal_moves_a_state_as_the_table_says(state: ApprovalState, signal: Signal) -> None:
    before = replace(approval_of("a"), state=state)
    after = {
        Signal.YES: lambda: answered(before, approve=True, by="ann", why="", now=NOW),
        Signal.NO: lambda: answered(before, approve=False, by="ann", why="", now=NOW),
        Signal.USE: lambda: used(before, digest="d1", expert_id="o1", max_cost_nano=100, now=NOW),
        Signal.TIME: lambda: as_of(before, NOW + TTL),
    }[signal]()

    assert after.state is TRANSITIONS.get((state, signal), state)
    assert (after is before) == ((state, signal) not in TRANSITIONS)


def test_late_answer_and_late_use_find_the_time_over() -> None:
    late, yes = NOW + TTL, answered(approval_of("a"), approve=True, by="ann", why="", now=NOW)

    assert answered(approval_of("a"), approve=True, by="ann", why="", now=late).state is ApprovalState.EXPIRED
    assert used(yes, digest="d1", expert_id="o1", max_cost_nano=1, now=late).state is ApprovalState.EXPIRED


def test_every_field_survives_being_written_down() -> None:
    assert from_text(to_text(WHOLE)) == WHOLE
    assert from_text(to_text(approval_of("a"))) == approval_of("a")


def test_subject_tells_requests_experts_and_tenants_apart() -> None:
    about = [WHOLE, replace(WHOLE, digest="d2"), replace(WHOLE, expert_id="o3"), replace(WHOLE, tenant=None)]

    assert len({subject(one) for one in about}) == 4
    assert subject(replace(WHOLE, digest="x" * 10_000, tenant="\ud800")) != subject(WHOLE)
    assert len(subject(WHOLE)) == len(subject(replace(WHOLE, digest="x" * 10_000)))


def test_oldest_of_those_that_cover_a_question_serves_it() -> None:
    known = [
        approval_of("cheap", nano=99),
        approval_of("young", created_at=later(seconds=2)),
        approval_of("old", created_at=later(seconds=1)),
        approval_of("over", created_at=NOW - TTL),
    ]
    wanted = approval_of("new", created_at=later(seconds=3))

    found = covering(known, wanted)

    assert found is not None
    assert found.id == "old"
    assert covering(known, replace(wanted, created_at=NOW + TTL + timedelta(seconds=2))) is None


def test_approval_is_shown_without_what_it_is_bound_to() -> None:
    shown = WHOLE.as_dict()

    assert (shown["max_cost_usd"], shown["decided_by"], shown["roles"]) == ("0.0000001", "ann", ["lead", "адмін"])
    assert "digest" not in shown
    assert approval_of("a").as_dict()["decided_at"] is None
