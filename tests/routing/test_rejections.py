"""The counts of a reason are those of its rejections, however they are come by."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings

from crew_moe.domain.decision import Decision
from crew_moe.domain.expert import Capability
from crew_moe.domain.request import RoutingRequest
from crew_moe.routing import Board
from crew_moe.routing.engine import decide
from crew_moe.routing.rejections import turned_away
from crew_moe.routing.ruling import Ruling
from tests.routing.asking import boards, requests
from tests.routing.given import NOW, board, decided, expert, market


@settings(max_examples=150, deadline=None)
@given(on=boards(), request=requests())
def test_turned_away_counts_the_first_rules_of_all_rejections(on: Board, request: RoutingRequest) -> None:
    found = decide(request, on, decision_id="d", now=NOW, new_seed=lambda: 7)
    if not isinstance(found, Decision) or not isinstance(found.basis, Ruling):
        return

    counted = dict(turned_away(found.basis.lane, found.basis.terms))

    assert counted == Counter(rejection.rule for rejection in found.rejections)


def test_a_missing_capability_is_counted_before_a_narrow_window() -> None:
    able = expert("able", capabilities=frozenset(Capability))
    lacking = expert("lacking", capabilities=frozenset(), context_window=10)
    on = board(registry=market(able, lacking, replace(able, expert_id="narrow", context_window=10)))

    found = decided(on, task_type="planning", requires=["vision"], text="word " * 400)

    assert isinstance(found.basis, Ruling)
    assert dict(turned_away(found.basis.lane, found.basis.terms)) == {"capability": 1, "context_window": 1}
    assert Counter(row.rule for row in found.rejections) == {"capability": 1, "context_window": 1}
