"""Each check that comes with the package, asked about calls that pass and calls that don't."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from crew_moe.domain.expert import Tier
from crew_moe.domain.screening import Concern
from crew_moe.domain.verdict import GateContext, Ruling
from crew_moe.errors import InvalidInput
from crew_moe.gating import checks
from crew_moe.gating.checks import (
    budget_left,
    check,
    cooldown,
    guild_only,
    has_any_role,
    has_role,
    in_channel,
    in_workspace,
    max_concurrency,
    max_cost,
    needs_approval,
    quiet_hours,
    screened,
)
from crew_moe.gating.consequence import downgrade, hold
from crew_moe.gating.gate import Check, Gate
from tests.gating.given import call


def at(clock: str, day: str = "2026-03-02") -> GateContext:
    return call(now=datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=UTC))


INJECTION = {Concern.INJECTION: 0.2}
ANSWERS: list[tuple[Check, dict[str, Any], bool]] = [
    (has_any_role("lead", "dev"), {}, True),
    (has_any_role("lead", "admin"), {}, False),
    (has_any_role("Dev"), {}, False),
    (has_any_role("dev"), {"roles": frozenset()}, False),
    (has_role("dev"), {}, True),
    (has_role("lead"), {}, False),
    (guild_only(), {}, True),
    (guild_only(), {"workspace": None}, False),
    (in_workspace("w1", 7), {}, True),
    (in_workspace("w1", 7), {"workspace": "7"}, True),
    (in_workspace("w2"), {}, False),
    (in_workspace("w2"), {"workspace": None}, False),
    (in_channel(42), {"channel": "42"}, True),
    (in_channel(42), {}, False),
    (budget_left(0.2), {"left": 0.2}, True),
    (budget_left(0.2), {"left": 0.19}, False),
    (budget_left(0.2), {"left": None}, True),
    (budget_left(0.2), {"left": float("nan")}, False),
    (screened("injection", below=0.5), {"scores": INJECTION}, True),
    (screened("injection", below=0.2), {"scores": INJECTION}, False),
    (screened("toxicity"), {"scores": INJECTION}, False),
    (screened(), {"scores": {Concern.INJECTION: float("nan")}}, False),
    (screened(), {"scores": {Concern.INJECTION: -1.0}}, False),
    (max_cost("0.15"), {}, True),
    (max_cost(0.14), {}, False),
    (needs_approval("premium"), {"tier": Tier.BASELINE}, True),
    (needs_approval("baseline"), {"tier": Tier.BASELINE}, False),
]


@pytest.mark.parametrize(("asked", "fields", "passes"), ANSWERS)
def test_check_tells_who_may_pass(asked: Check, fields: dict[str, Any], passes: bool) -> None:
    assert asked(call(**fields)) is passes


@pytest.mark.parametrize(
    ("start", "end", "clock", "passes"),
    [
        ("22:00", "06:00", "21:59:59", True),
        ("22:00", "06:00", "22:00", False),
        ("22:00", "06:00", "00:00", False),
        ("22:00", "06:00", "05:59:59", False),
        ("22:00", "06:00", "06:00", True),
        ("12:00", "13:30", "12:00", False),
        ("12:00", "13:30", "13:30", True),
        ("12:00", "13:30", "00:00", True),
        (1320, "6:00", "23:00", False),
        (0, 360, "05:00", False),
    ],
)
def test_quiet_hours_begin_with_their_start_and_end_before_their_end(
    start: str | int, end: str | int, clock: str, passes: bool
) -> None:
    assert quiet_hours(start, end)(at(clock)) is passes


def test_quiet_hours_follow_the_clocks_of_their_zone() -> None:
    berlin = quiet_hours("22:00", "06:00", tz="Europe/Berlin")

    assert berlin(at("20:30", day="2026-01-15")) is True
    assert berlin(at("20:30", day="2026-07-15")) is False


def test_failed_check_does_what_it_was_told_to() -> None:
    lowered = Gate([has_any_role("lead", otherwise=downgrade("fast"))]).judge(call())
    held = Gate([has_any_role("lead", otherwise=hold("admin"))]).judge(call())

    assert (lowered.verdict.ruling, lowered.verdict.tier) == (Ruling.DOWNGRADE, Tier.FAST)
    assert (held.verdict.ruling, held.approvers) == (Ruling.HOLD, ("admin",))


def test_needs_approval_looks_below_the_gates_tier() -> None:
    gate = Gate([needs_approval("baseline", roles=["lead"])], above=Tier.PREMIUM)

    judged = gate.judge(call(tier=Tier.BASELINE))

    assert (judged.verdict.ruling, judged.approvers) == (Ruling.HOLD, ("lead",))


def test_name_and_reason_can_be_given() -> None:
    night = quiet_hours("22:00", "06:00", name="night", reason="the team sleeps")

    found = Gate([night]).judge(at("23:00")).verdict

    assert (found.check, found.reason) == ("night", "the team sleeps")


async def _later(_: GateContext) -> bool:
    return True


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: has_any_role(), "roles: names nobody"),
        (lambda: has_any_role("ad\u200bmin"), "characters that nobody sees"),
        (lambda: has_role(" "), "1 to 200 characters"),
        (lambda: in_channel(True), "1 to 200 characters"),
        (lambda: cooldown(0, 60), "rate: must be a number above 0"),
        (lambda: cooldown(5, float("inf")), "per_s"),
        (lambda: cooldown(5, 1e12), "is no rate"),
        (lambda: cooldown(True, 60), "rate"),
        (lambda: cooldown(5, 60, "users"), "did you mean 'user'"),
        (lambda: cooldown(5, 60, name="a:b"), "name of a check"),
        (lambda: max_concurrency(0), "places: must be a whole number"),
        (lambda: quiet_hours("24:00", "06:00"), "start: must be a time of day"),
        (lambda: quiet_hours("6:00", "06:00"), "same time"),
        (lambda: quiet_hours("22:00", "06:00", tz="Europe/Berlni"), "did you mean 'Europe/Berlin'"),
        (lambda: budget_left(20), "from 0 to 1"),
        (lambda: screened("injektion"), "did you mean 'injection'"),
        (lambda: max_cost(-1), "no amount"),
        (lambda: needs_approval("premum"), "did you mean 'premium'"),
        (lambda: downgrade("premum"), "did you mean 'premium'"),
        (lambda: check(lambda _: True), "name of a check"),
        (lambda: check(cast(Any, _later)), "plain function"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(wrong: Callable[[], object], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        wrong()


def test_module_says_what_its_checks_are() -> None:
    assert "quiet_hours" in (checks.__doc__ or "")
