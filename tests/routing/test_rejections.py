"""The counts of a reason are those of its rejections, however they are come by."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings

from crew_moe.domain.decision import Decision
from crew_moe.domain.request import RoutingRequest
from crew_moe.routing import Board
from crew_moe.routing.engine import decide
from crew_moe.routing.rejections import turned_away
from crew_moe.routing.ruling import Ruling
from tests.routing.asking import boards, requests
from tests.routing.given import NOW


@settings(max_examples=150, deadline=None)
@given(on=boards(), request=requests())
def test_turned_away_counts_the_first_rules_of_all_rejections(on: Board, request: RoutingRequest) -> None:
    found = decide(request, on, decision_id="d", now=NOW, new_seed=lambda: 7)
    if not isinstance(found, Decision) or not isinstance(found.basis, Ruling):
        return

    counted = dict(turned_away(found.basis.lane, found.basis.terms))

    assert counted == Counter(rejection.rule for rejection in found.rejections)
