"""The gate judges a call by its checks: strictest first, closed where anything is odd."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest

from crew_moe.domain.expert import Tier
from crew_moe.domain.meter import Demand
from crew_moe.domain.screening import Concern
from crew_moe.domain.verdict import GateContext, Ruling, Verdict
from crew_moe.errors import InvalidInput
from crew_moe.gating.checks import check, cooldown, has_any_role, needs_approval, screened
from crew_moe.gating.consequence import DENY, Otherwise, downgrade, hold
from crew_moe.gating.gate import Check, Gate, Metered
from tests.gating.given import call


def never(name: str = "never", otherwise: Otherwise = DENY, **options: Any) -> Check:
    return Check(name=name, test=lambda _: False, otherwise=otherwise, **options)


def saying(said: Any, name: str = "says") -> Check:
    return Check(name=name, test=lambda _: said)


def failing(_: GateContext) -> bool:
    raise RuntimeError("the secret of the prompt")


def ruled(*checks: Check | Metered, context: GateContext | None = None) -> Verdict:
    return Gate(checks).judge(context or call()).verdict


def test_gate_without_checks_lets_pass() -> None:
    assert ruled().allowed


@pytest.mark.parametrize("tier", [Tier.FAST, Tier.BASELINE])
def test_expert_at_or_below_the_tier_passes_unasked(tier: Tier) -> None:
    assert ruled(never(), context=call(tier=tier)).allowed


@pytest.mark.parametrize("tier", list(Tier))
def test_check_for_all_is_asked_about_every_tier(tier: Tier) -> None:
    assert ruled(never(for_all=True), context=call(tier=tier)).ruling is Ruling.DENY


def test_strictest_verdict_wins_in_any_order() -> None:
    checks = [saying(True), never("down", downgrade("fast")), never("held", hold()), never("no")]
    for number, strictest in ((1, Ruling.ALLOW), (2, Ruling.DOWNGRADE), (3, Ruling.HOLD), (4, Ruling.DENY)):
        for order in permutations(checks[:number]):
            assert ruled(*order).ruling is strictest


def test_denial_ends_the_questions() -> None:
    asked: list[str] = []

    def later(_: GateContext) -> bool:
        asked.append("later")
        return True

    assert ruled(never(), Check(name="later", test=later)).check == "never"
    assert asked == []


def test_deepest_downgrade_wins() -> None:
    found = ruled(never("a", downgrade("baseline")), never("b", downgrade("fast")), never("c", downgrade("baseline")))

    assert (found.check, found.tier) == ("b", Tier.FAST)


@pytest.mark.parametrize(
    ("tier", "target", "ruling", "left"),
    [
        (Tier.PREMIUM, None, Ruling.DOWNGRADE, Tier.BASELINE),
        (Tier.BASELINE, None, Ruling.DOWNGRADE, Tier.FAST),
        (Tier.FAST, None, Ruling.DENY, None),
        (Tier.PREMIUM, Tier.FAST, Ruling.DOWNGRADE, Tier.FAST),
        (Tier.BASELINE, Tier.BASELINE, Ruling.ALLOW, None),
        (Tier.FAST, Tier.PREMIUM, Ruling.ALLOW, None),
    ],
)
def test_downgrade_goes_down_or_nowhere(tier: Tier, target: Tier | None, ruling: Ruling, left: Tier | None) -> None:
    found = ruled(never("down", downgrade(target), for_all=True), context=call(tier=tier))

    assert (found.ruling, found.tier) == (ruling, left)


@pytest.mark.parametrize("said", [None, 1, 0, "yes", object(), Ruling.ALLOW, [True]])
def test_anything_but_a_verdict_or_a_bool_denies(said: Any) -> None:
    found = ruled(saying(said))

    assert (found.ruling, found.check) == (Ruling.DENY, "says")
    assert type(said).__name__ in found.reason


def test_failing_check_denies_by_name_and_type_without_its_words() -> None:
    found = ruled(Check(name="broken", test=failing))

    assert (found.ruling, found.check) == (Ruling.DENY, "broken")
    assert "RuntimeError" in found.reason
    assert "secret" not in found.reason


@pytest.mark.parametrize("demand", [failing, lambda _: "cooldown"])
def test_meter_that_fails_or_demands_nonsense_denies(demand: Any) -> None:
    assert ruled(Metered(name="broken", demand=demand)).ruling is Ruling.DENY


def test_own_verdict_of_a_check_is_tidied() -> None:
    said = Verdict(ruling=Ruling.HOLD, check="another", approval_id="forged", retry_after_s=float("nan"))

    assert ruled(saying(said)) == Verdict(ruling=Ruling.HOLD, check="says")


def test_own_downgrade_to_nowhere_goes_one_tier_down() -> None:
    found = ruled(saying(Verdict(ruling=Ruling.DOWNGRADE)))

    assert (found.ruling, found.tier) == (Ruling.DOWNGRADE, Tier.BASELINE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_cost_usd": Decimal("NaN")},
        {"max_cost_usd": Decimal("sNaN")},
        {"max_cost_usd": Decimal("Infinity")},
        {"max_cost_usd": Decimal("-0.01")},
        {"max_cost_usd": Decimal("1e30")},
        {"max_cost_usd": 0.5},
        {"digest": ""},
        {"expert_id": ""},
        {"now": datetime(2026, 3, 2, 12, 0)},  # noqa: DTZ001 - the mistake that is tested
    ],
    ids=str,
)
def test_odd_call_is_denied_before_any_check(wrong: dict[str, Any]) -> None:
    found = ruled(context=replace(call(tier=Tier.FAST), **wrong))

    assert (found.ruling, found.check) == (Ruling.DENY, "gate")


@pytest.mark.parametrize(("tier", "held"), [(Tier.FAST, False), (Tier.BASELINE, True), (Tier.PREMIUM, True)])
def test_task_that_asks_for_approval_is_held_from_its_tier_on(tier: Tier, held: bool) -> None:
    found = ruled(context=call(tier=tier, approval=Tier.BASELINE))

    assert (found.ruling is Ruling.HOLD) is held


def test_expert_that_was_let_pass_before_is_not_held_again() -> None:
    granted = call(granted=frozenset({"o1"}), approval=Tier.PREMIUM)

    assert ruled(needs_approval(), context=granted).allowed
    assert ruled(needs_approval(), never(), context=granted).ruling is Ruling.DENY
    assert ruled(needs_approval(), context=replace(granted, expert_id="o3")).ruling is Ruling.HOLD


def test_yes_to_one_hold_is_no_yes_to_what_is_sent_later() -> None:
    granted = call(granted=frozenset({"o1"}))

    assert ruled(screened(otherwise=hold()), context=granted).ruling is Ruling.HOLD
    assert ruled(has_any_role("lead", otherwise=hold()), context=granted).allowed
    assert ruled(never(otherwise=hold()), context=granted).ruling is Ruling.HOLD
    assert ruled(never(otherwise=hold(), lasting=True), context=granted).allowed


def test_hold_names_its_roles_or_those_of_the_gate() -> None:
    own = Gate([never("a", hold("lead"))], approvers=["admin"]).judge(call())
    gates = Gate([never("a", hold())], approvers=["admin"]).judge(call())
    nobody = Gate([never("a", hold())]).judge(call())

    assert (own.approvers, gates.approvers, nobody.approvers) == (("lead",), ("admin",), ())


def test_two_holds_need_a_role_that_may_lift_both() -> None:
    both = Gate([never("a", hold("lead", "admin")), never("b", hold("admin", "ops")), never("c", hold())]).judge(call())
    neither = Gate([never("a", hold("lead")), never("b", hold("ops"))]).judge(call())

    assert both.approvers == ("admin",)
    assert neither.verdict.ruling is Ruling.DENY
    assert "a and b" in neither.verdict.reason


def test_hold_says_what_is_left_once_it_is_lifted() -> None:
    judged = Gate([never("held", hold()), never("down", downgrade("fast"))]).judge(call())

    assert judged.verdict.ruling is Ruling.HOLD
    assert (judged.once_approved.ruling, judged.once_approved.tier) == (Ruling.DOWNGRADE, Tier.FAST)


def test_meters_are_declared_in_order_and_untouched() -> None:
    gate = Gate([cooldown(5, 60), has_any_role("dev"), cooldown(9, 60, "channel")])

    takes = gate.judge(call()).takes

    assert [take.demand.key for take in takes] == [
        "cooldown:cooldown_user_60s:user:acme/bob",
        "cooldown:cooldown_channel_60s:channel:acme/c1",
    ]


def test_two_meters_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidInput, match="two checks that count are called 'cooldown_user_60s'"):
        Gate([cooldown(5, 60), cooldown(50, 60)])


def test_decorated_function_is_a_check() -> None:
    @check(otherwise=downgrade("fast"), reason="not on a Monday")
    def midweek(context: GateContext) -> bool:
        return context.now.weekday() != 0

    found = ruled(midweek)

    assert (midweek.name, midweek(call())) == ("midweek", False)
    assert (found.tier, found.reason) == (Tier.FAST, "not on a Monday")


def test_metered_check_of_ones_own_is_taken() -> None:
    mine = Metered(name="mine", demand=lambda context: Demand(key=f"mine:{context.task}"))

    assert Gate([mine]).judge(call()).takes[0].demand.key == "mine:audit"


def test_a_hold_for_a_flagged_text_says_what_was_flagged() -> None:
    held = ruled(context=call(approval=Tier.FAST, scores={Concern.INJECTION: 0.9, Concern.TOXICITY: 0.1}))

    assert (held.ruling, held.reason) == (Ruling.HOLD, "the text was flagged for injection")
