"""Pins set by hand, and how a running task learns of them."""

from __future__ import annotations

import pytest

from crew_moe.clock import ManualClock
from crew_moe.domain.request import RoutingRequest
from crew_moe.errors import InvalidRequest, UnknownExpert
from tests.router.given import decided, router
from tests.routing.given import NOW


def test_a_pin_holds_at_once_and_until_it_is_removed() -> None:
    on = router()
    before = decided(on).expert_id

    pin = on.pin("command-r", reason="an outage", by="ops")

    assert decided(on).expert_id == "command-r"
    assert on.stats()["pins"][0]["reason"] == pin.reason == "an outage"
    assert on.unpin("command-r") == 1
    assert decided(on).expert_id == before
    assert on.unpin() == 0


def test_a_pin_holds_in_its_scope_alone() -> None:
    on = router()
    on.pin("command-r", task_type="planning", tenant="a")

    assert decided(on, tenant="a").expert_id == "command-r"
    assert decided(on, tenant="b").expert_id != "command-r"
    assert decided(on, tenant="a", task_type="testing").expert_id != "command-r"
    assert on.unpin(tenant="b") == 0


def test_wrong_names_are_told() -> None:
    on = router()

    with pytest.raises(UnknownExpert, match="did you mean 'command-r'"):
        on.pin("comand-r")
    with pytest.raises(InvalidRequest, match="did you mean 'planning'"):
        on.pin("command-r", task_type="planing")


def test_the_version_of_overrides_changes_with_them_alone() -> None:
    clock = ManualClock(NOW)
    on = router(clock)
    versions = [on.overrides_version()]
    decided(on)
    clock.advance(1.0)
    assert on.overrides_version() == versions[0]

    on.pin("command-r")
    versions.append(on.overrides_version())
    on.unpin("command-r")
    assert on.overrides_version() == versions[0] != versions[1]


def test_a_strategy_is_overridden_for_requests_that_name_none() -> None:
    on = router()

    on.overrides.rank_by("rule", task_type=None, tenant=None, minutes=5, reason="trial", by="ops")

    assert decided(on).strategy == "rule"
    assert decided(on, strategy="score").strategy == "score"
    assert on.decide_batch([RoutingRequest(text="x")])[0].strategy == "rule"
    assert on.stats()["pins"][0]["strategy"] == "rule"
    assert on.unpin() == 1
    assert decided(on).strategy == "score"


def test_the_narrowest_override_of_a_strategy_holds() -> None:
    on = router()
    on.overrides.rank_by("rule", task_type=None, tenant=None, minutes=None, reason="", by="")
    on.overrides.rank_by("score", task_type="planning", tenant="a", minutes=None, reason="", by="")

    assert decided(on, tenant="a", task_type="planning").strategy == "score"
    assert decided(on, tenant="b", task_type="planning").strategy == "rule"


def test_an_override_of_a_strategy_pins_no_expert() -> None:
    on = router()
    before = decided(on).expert_id

    on.overrides.rank_by("score", task_type=None, tenant=None, minutes=None, reason="", by="")

    assert decided(on).expert_id == before


def test_an_unknown_strategy_is_told() -> None:
    with pytest.raises(InvalidRequest, match="did you mean 'score'"):
        router().overrides.rank_by("scores", task_type=None, tenant=None, minutes=None, reason="", by="")
