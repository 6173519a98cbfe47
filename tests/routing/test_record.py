"""Rows of the decision log: exact, without the text, and enough to decide again."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given

from crew_moe.domain.decision import Decision
from crew_moe.domain.digest import digest
from crew_moe.domain.policy import Match, Rule
from crew_moe.domain.request import RoutingRequest
from crew_moe.routing import Board, decide
from crew_moe.routing.record import commitments, identity_of, replay, row_of
from tests.routing.asking import boards, requests
from tests.routing.given import EXPLORING, NOW, POLICY, STEADY, board, decided, refused

KEY = b"salt"


def logged(request: RoutingRequest, on: Board) -> tuple[Any, dict[str, Any]]:
    """The answer and its row, after a way through JSON."""
    found = decide(request, on, decision_id="d-1", now=NOW, new_seed=lambda: 5)
    row = row_of(found, digest(request.text, key=KEY), identity_of(request), KEY)
    stored: dict[str, Any] = json.loads(json.dumps(row, allow_nan=False))
    return found, stored


@STEADY
@given(requests(), boards())
def test_a_row_decides_again_bit_for_bit(request: RoutingRequest, on: Board) -> None:
    found, row = logged(request, on)

    again = replay(row, on.policy)
    if not isinstance(found, Decision) or found.group is not None:
        assert again is None
    else:
        assert again == (found.expert_id, found.score, found.propensity)


def test_a_changed_row_does_not_decide_the_same() -> None:
    found, row = logged(RoutingRequest(task_type="planning"), board())
    row["figures"]["base"][row["roster"]["ids"].index("command-r")] += 100.0

    assert replay(row, POLICY) != (found.expert_id, found.score, found.propensity)


def test_the_text_and_the_names_are_not_in_the_row() -> None:
    request = RoutingRequest(task_type="planning", text="Moby Dick", tenant="Pequod", user="Ahab", session_key="whale")

    _, row = logged(request, board())

    assert not any(word in json.dumps(row) for word in ("Moby", "Pequod", "Ahab", "whale"))
    assert row["text_digest"] == digest("Moby Dick", key=KEY).hex()
    assert set(row["identity"]) == {"tenant", "user", "session_key"}


def test_commitments_need_their_key() -> None:
    identity = identity_of(RoutingRequest(task_type="planning", tenant="Pequod"))

    assert commitments(identity, KEY) == commitments(identity, KEY)
    assert commitments(identity, KEY) != commitments(identity, b"other")
    assert commitments(identity_of(RoutingRequest()), KEY) == {}


def test_another_policy_does_not_judge_what_a_strategy_read() -> None:
    request = RoutingRequest(task_type="planning")
    other = replace(POLICY, version="other@1")

    assert replay(logged(request, board())[1], other) is not None
    assert replay(logged(request, board(policy=EXPLORING))[1], other) is None


def test_a_rule_about_tenants_can_not_be_replayed() -> None:
    rule = Rule(name="theirs", when=Match(tenants=frozenset({"a"})), use=("command-r",))
    policy = replace(POLICY, strategy="rule", rules=(rule, *POLICY.rules))
    found, row = logged(RoutingRequest(task_type="planning", tenant="a"), board(policy=policy))

    assert found.expert_id == "command-r"
    assert replay(row, policy) is None
    assert replay(logged(RoutingRequest(task_type="planning"), board(policy=policy))[1], policy) is not None


def test_a_row_that_no_longer_fits_anybody_is_none() -> None:
    _, row = logged(RoutingRequest(task_type="planning", budget_usd=1), board())
    row["sizes"]["budget_nano"] = -1.0

    assert replay(row, POLICY) is None


def test_an_infeasible_row_has_its_reasons() -> None:
    row = json.loads(json.dumps(row_of(refused(min_quality=1.0), b"", (), KEY)))

    assert (row["ok"], row["binding"]) == (False, "min_quality")
    assert replay(row, POLICY) is None


def test_a_foreign_basis_gives_a_row_without_figures() -> None:
    class Told:
        """A decision made elsewhere."""

        def __getattr__(self, name: str) -> Any:
            return getattr(decided().basis, name)

    row = row_of(replace(decided(), basis=Told()), b"", (), KEY)

    assert "figures" not in row
