"""The `gate:` section: what it builds, and what it says about mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from crew_moe.domain.expert import Tier
from crew_moe.domain.verdict import GateContext, Ruling
from crew_moe.errors import ConfigError, InvalidInput
from crew_moe.gating.catalogue import CHECKS, find, register
from crew_moe.gating.checks import check
from crew_moe.gating.config import build_gate, read_gate
from crew_moe.gating.consequence import OnHoldTimeout
from crew_moe.gating.gate import Check, Metered
from tests.gating.given import call

WHOLE = """
above: fast
checks:
  - guild_only
  - has_any_role: [lead, admin]
  - has_role: dev
  - in_channel: 42
  - in_workspace: [1, w2]
  - cooldown: {rate: 5, per_s: 60, bucket: user}
  - max_concurrency: {places: 2, bucket: tenant, name: at_once}
  - quiet_hours: {start: 22:00, end: "06:00", tz: Europe/Berlin, otherwise: {downgrade: baseline}, for_all: true}
  - budget_left: 0.2
  - screened: {concern: injection, below: 0.3, otherwise: {hold: [safety]}}
  - max_cost: 0.50
  - needs_approval: premium
on_hold_timeout: fail
approval: {ttl_s: 60, roles: [lead]}
"""


@pytest.fixture
def registered() -> Iterator[None]:
    """Whatever a test registers is forgotten again."""
    before = dict(CHECKS)
    yield
    CHECKS.clear()
    CHECKS.update(before)


def ruling(checks: list[Any], context: GateContext | None = None) -> Ruling:
    return build_gate({"checks": checks}).judge(context or call()).verdict.ruling


def test_whole_section_becomes_a_gate() -> None:
    entry = read_gate(yaml.safe_load(WHOLE))
    gate = build_gate(entry)

    assert [one.name for one in gate.checks[1:]] == [
        "guild_only", "has_any_role", "has_role", "in_channel", "in_workspace", "cooldown_user_60s", "at_once",
        "quiet_hours", "budget_left", "screened_injection", "max_cost", "needs_approval",
    ]  # fmt: skip
    assert (gate.above, gate.approvers) == (Tier.FAST, ("lead",))
    assert (entry.on_hold_timeout, entry.approval.ttl_s) == (OnHoldTimeout.FAIL, 60)


def test_empty_section_lets_all_pass() -> None:
    assert ruling([]) is Ruling.ALLOW


def test_unquoted_time_of_day_is_understood() -> None:
    quiet = next(one for one in build_gate(yaml.safe_load(WHOLE)).checks if one.name == "quiet_hours")

    assert quiet.reason == "quiet hours from 22:00 to 06:00 (Europe/Berlin)"
    assert (quiet.otherwise.ruling, quiet.otherwise.tier, quiet.for_all) == (Ruling.DOWNGRADE, Tier.BASELINE, True)


@pytest.mark.parametrize(
    ("otherwise", "expected"),
    [
        ("deny", Ruling.DENY),
        ("hold", Ruling.HOLD),
        ("downgrade", Ruling.DOWNGRADE),
        ({"downgrade": "fast"}, Ruling.DOWNGRADE),
        ({"hold": ["lead"]}, Ruling.HOLD),
    ],
)
def test_consequences_have_short_and_long_forms(otherwise: object, expected: Ruling) -> None:
    assert ruling([{"has_role": {"role": "nobody", "otherwise": otherwise}}]) is expected


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"abov": "fast"}, "gate: unknown field 'abov'; did you mean 'above'?"),
        ({"above": "fats"}, "gate.above: 'fats' is not one of the allowed values; did you mean 'fast'?"),
        ({"approval": {"ttl_s": 0}}, "gate.approval.ttl_s"),
        ({"approval": {"roles": ["a\u200b"]}}, "gate.approval.roles: the name 'a\\u200b' holds"),
        ({"on_hold_timeout": "wait"}, "gate.on_hold_timeout: 'wait'"),
        ({"checks": "guild_only"}, "gate.checks: must be a list"),
        ({"checks": ["guild_onyl"]}, "gate.checks.0: unknown check 'guild_onyl'; did you mean 'guild_only'?"),
        ({"checks": [3]}, "gate.checks.0: an entry names one check"),
        ({"checks": [{"guild_only": {}, "max_cost": 1}]}, "an entry names one check"),
        ({"checks": ["guild_only", {"guild_only": 3}]}, "gate.checks.1: takes a mapping"),
        ({"checks": [{"has_any_role": None}]}, "gate.checks.0.has_any_role: field 'roles' is required"),
        ({"checks": [{"cooldown": {"rate": 5, "per": 60}}]}, "unknown field 'per'; did you mean 'per_s'?"),
        ({"checks": [{"cooldown": {"rate": True, "per_s": 60}}]}, "gate.checks.0.cooldown.rate: must be a number"),
        ({"checks": [{"cooldown": {"rate": float("nan"), "per_s": 60}}]}, "gate.checks.0.cooldown.rate"),
        ({"checks": [{"budget_left": "20 %"}]}, "gate.checks.0.budget_left.fraction"),
        ({"checks": [{"has_role": {"role": "x", "otherwise": "denied"}}]}, "has_role.otherwise"),
        ({"checks": [{"has_role": {"role": "x", "otherwise": {"hold": "lead"}}}]}, "has_role.otherwise"),
        ({"checks": [{"has_role": {"role": "x", "otherwise": {"downgrade": "premum"}}}]}, "did you mean 'premium'?"),
        ({"checks": [{"has_role": {"role": "x", "for_all": "yes"}}]}, "has_role.for_all: must be true or false"),
        ({"checks": [{"needs_approval": {"otherwise": "deny"}}]}, "unknown field 'otherwise'"),
        ({"checks": [{"max_concurrency": 1}, {"max_concurrency": 2}]}, "gate.checks: two checks that count"),
        ({"checks": ["guild_only"] * 101}, "gate.checks"),
        ({"checks": [{"cooldown": {1: 2}}]}, "gate.checks.0.cooldown"),
        ({"checks": [{"cooldown": [5, 60]}]}, "gate.checks.0.cooldown.rate: must be a number (given a list)"),
    ],
)
def test_mistake_is_named_with_its_place(section: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_gate(section, file="my/policy.yaml")

    assert str(caught.value).startswith("my/policy.yaml: gate")
    assert says in str(caught.value)


@pytest.mark.usefixtures("registered")
def test_registered_maker_takes_what_its_annotations_say() -> None:
    @register
    def working_in(city: str, floor: int = 1) -> Check:
        return check(lambda context: context.workspace == f"{city}-{floor}", name="working_in")

    assert ruling([{"working_in": "Rome"}], call(workspace="Rome-1")) is Ruling.ALLOW
    assert ruling([{"working_in": {"city": "Rome", "floor": 2}}], call(workspace="Rome-1")) is Ruling.DENY
    with pytest.raises(ConfigError, match=r"working_in.floor: must be a whole number"):
        build_gate({"checks": [{"working_in": {"city": "Rome", "floor": "two"}}]})


@pytest.mark.usefixtures("registered")
def test_registered_check_takes_nothing() -> None:
    @register
    @check
    def midweek(context: GateContext) -> bool:
        return context.now.weekday() == 2

    assert ruling(["midweek"]) is Ruling.DENY
    with pytest.raises(ConfigError, match=r"gate.checks.0.midweek: this check takes no arguments"):
        build_gate({"checks": [{"midweek": {"otherwise": "hold"}}]})


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("made", [None, lambda _: True, "no check"])
def test_maker_that_makes_no_check_is_refused(made: object) -> None:
    def odd() -> Any:
        return made

    register(odd)

    with pytest.raises(ConfigError, match=r"gate.checks.0.odd: the check is a"):
        build_gate({"checks": ["odd"]})


@pytest.mark.usefixtures("registered")
def test_maker_whose_annotations_lead_nowhere_is_named() -> None:
    def odd(city: str) -> Check:
        return check(lambda _: bool(city), name="odd")

    odd.__annotations__["city"] = "NoSuchType"
    register(odd)

    with pytest.raises(ConfigError, match=r"gate.checks.0.odd: what this check takes can't be read: NameError"):
        build_gate({"checks": [{"odd": "Rome"}]})


@pytest.mark.usefixtures("registered")
def test_maker_with_options_of_any_kind_takes_the_common_ones() -> None:
    def odd(**options: Any) -> Check:
        return check(lambda _: False, name="odd", **options)

    register(odd)

    assert ruling([{"odd": {"otherwise": "hold"}}]) is Ruling.HOLD


@pytest.mark.usefixtures("registered")
def test_maker_that_fails_is_named_without_its_words() -> None:
    def odd() -> Check:
        raise KeyError("secret")

    register(odd)

    with pytest.raises(ConfigError, match=r"the check could not be made: KeyError") as caught:
        build_gate({"checks": ["odd"]})
    assert "secret" not in str(caught.value)


def test_nobody_replaces_a_check_by_the_way() -> None:
    def has_role(role: str) -> Check:
        return check(lambda _: bool(role), name="has_role")

    with pytest.raises(InvalidInput, match="'has_role' exists"):
        register(has_role)


class Point:
    """An entry point, as importlib.metadata gives them."""

    def __init__(self, name: str, loaded: object) -> None:
        self.name = name
        self.value = f"package.{name}:made"
        self._loaded = loaded

    def load(self) -> object:
        if isinstance(self._loaded, Exception):
            raise self._loaded
        return self._loaded


def _install(patch: pytest.MonkeyPatch, *points: Point) -> None:
    patch.setattr("importlib.metadata.entry_points", lambda group: points if group == "crew_moe.checks" else ())


def test_installed_package_brings_its_check(monkeypatch: pytest.MonkeyPatch) -> None:
    never = check(lambda _: False, name="never")
    _install(monkeypatch, Point("never", never), Point("has_role", never))

    assert find("never") is never
    assert find("has_role") is CHECKS["has_role"]


@pytest.mark.parametrize(
    ("points", "says"),
    [
        ([Point("mine", ImportError("no such thing"))], "'mine' of package.mine:made can't be used: ImportError"),
        ([Point("mine", 7)], "it is a int"),
        ([Point("mine", int), Point("mine", int)], "several packages bring a check called 'mine'"),
        ([Point("minx", int)], "did you mean 'minx'?"),
    ],
)
def test_unusable_package_is_named(monkeypatch: pytest.MonkeyPatch, points: list[Point], says: str) -> None:
    _install(monkeypatch, *points)

    with pytest.raises(InvalidInput) as caught:
        find("mine")
    assert says in str(caught.value)


def test_every_registered_name_is_that_of_its_maker() -> None:
    assert all(not isinstance(made, Check | Metered) and made.__name__ == name for name, made in CHECKS.items())
