"""Cooldowns and places: who is counted together, what passes, and when there is room again."""

from __future__ import annotations

from typing import Any

import pytest

from crew_moe.domain.expert import Tier
from crew_moe.domain.meter import MAX_KEY, Demand
from crew_moe.domain.verdict import Ruling
from crew_moe.gating.checks import cooldown, max_concurrency
from crew_moe.gating.consequence import downgrade, hold
from crew_moe.gating.cooldown import Bucket, value_of
from crew_moe.gating.gate import Metered
from tests.gating.given import LEAD, Stage, call


@pytest.mark.parametrize(
    ("bucket", "value"),
    [
        (Bucket.USER, "acme/bob"),
        (Bucket.CHANNEL, "acme/c1"),
        (Bucket.WORKSPACE, "acme/w1"),
        (Bucket.TENANT, "acme/"),
        (Bucket.GLOBAL, ""),
    ],
)
def test_bucket_names_who_is_counted_together(bucket: Bucket, value: str) -> None:
    assert value_of(bucket, call()) == value


@pytest.mark.parametrize("unknown", [{"user": None}, {"user": ""}, {"user": "\u200b"}, {"user": " "}])
def test_unknown_users_share_one_meter(unknown: dict[str, Any]) -> None:
    assert value_of(Bucket.USER, call(**unknown)) == "acme/"


@pytest.mark.parametrize("spelling", ["bob\u200b", "Bob", " bob", "b\u2060ob", "\uff42\uff4f\uff42", "b\u043eb"])
def test_names_that_look_the_same_share_one_meter(spelling: str) -> None:
    assert value_of(Bucket.USER, call(user=spelling)) == "acme/bob"


def test_names_with_separators_are_told_apart() -> None:
    values = {
        value_of(Bucket.USER, call(tenant=tenant, user=user))
        for tenant, user in (("a/b", "c"), ("a", "b/c"), ("a%2fb", "c"), ("a", None), (None, "a"))
    }

    assert len(values) == 5


def test_long_names_keep_the_key_short_and_apart() -> None:
    keys = {_demand(cooldown(1, 1), user="u" * 10_000 + str(number)).key for number in range(3)}

    assert len(keys) == 3
    assert all(len(key) <= MAX_KEY for key in keys)


def _demand(check: Metered, **fields: Any) -> Demand:
    return check.demand(call(**fields))


def test_call_beyond_the_rate_is_denied_with_the_time_to_wait() -> None:
    stage = Stage(checks=[cooldown(2, 60)])

    passed = [stage.keeper.admit(call()).allowed for _ in range(3)]
    denied = stage.keeper.admit(call()).verdict

    assert passed == [True, True, False]
    assert (denied.ruling, denied.check, denied.retry_after_s) == (Ruling.DENY, "cooldown_user_60s", 30.0)
    assert "again in 30 s" in denied.reason


def test_time_to_wait_is_rounded_up_and_enough() -> None:
    stage = Stage(checks=[cooldown(1, 10)])
    stage.keeper.admit(call())
    stage.clock.advance(0.4)

    wait = stage.keeper.admit(call()).verdict.retry_after_s
    assert wait == 10.0
    stage.clock.advance(wait)

    assert stage.keeper.admit(call()).allowed


def test_others_are_not_held_up() -> None:
    stage = Stage(checks=[cooldown(1, 60)])
    stage.keeper.admit(call())

    assert stage.keeper.admit(call(user="eve")).allowed
    assert stage.keeper.admit(call(tenant="other")).allowed
    assert not stage.keeper.admit(call()).allowed


def test_nothing_is_taken_where_one_meter_is_full() -> None:
    stage = Stage(checks=[cooldown(5, 60), cooldown(1, 60, "channel")])
    stage.keeper.admit(call())

    for _ in range(10):
        assert stage.keeper.admit(call()).verdict.check == "cooldown_channel_60s"

    assert all(stage.keeper.admit(call(channel=f"c{number}")).allowed for number in range(2, 6))


def test_call_that_was_not_made_gets_its_share_back() -> None:
    stage = Stage(checks=[cooldown(1, 60)])
    stage.keeper.leave(stage.keeper.admit(call()), made=False)

    assert stage.keeper.admit(call()).allowed
    assert not stage.keeper.admit(call()).allowed


def test_places_are_free_when_calls_end_or_their_lease_does() -> None:
    stage = Stage(checks=[max_concurrency(1)], options={"lease_s": 30.0})
    first = stage.keeper.admit(call())

    assert not stage.keeper.admit(call()).allowed
    stage.keeper.leave(first, made=True)
    assert stage.keeper.admit(call()).allowed
    stage.clock.advance(31)
    assert stage.keeper.admit(call()).allowed


def test_crowded_meter_may_downgrade_instead() -> None:
    stage = Stage(checks=[cooldown(1, 60, otherwise=downgrade("fast"), for_all=True)])
    stage.keeper.admit(call())

    premium, fast = stage.keeper.admit(call()), stage.keeper.admit(call(tier=Tier.FAST))

    assert (premium.verdict.ruling, premium.verdict.tier) == (Ruling.DOWNGRADE, Tier.FAST)
    assert (fast.allowed, fast.passage) == (True, None)


def test_crowded_meter_may_ask_a_person_who_lets_one_call_pass() -> None:
    stage = Stage(checks=[cooldown(1, 3600, otherwise=hold("lead"))])
    stage.keeper.admit_at_once(call())

    held = stage.keeper.admit(call(digest="d2")).verdict
    assert held.ruling is Ruling.HOLD
    assert held.approval_id is not None
    assert stage.desk.answer(held.approval_id, approve=True, by=LEAD).ok

    assert stage.keeper.admit_at_once(call(digest="d2")).allowed
    assert stage.keeper.admit_at_once(call(digest="d2")).verdict.ruling is Ruling.HOLD


def test_yes_to_one_call_is_no_yes_to_a_crowd_of_them() -> None:
    stage = Stage(checks=[cooldown(1, 60, otherwise=hold())])
    stage.keeper.admit(call())

    assert stage.keeper.admit(call(granted=frozenset({"o1"}))).verdict.ruling is Ruling.HOLD
