"""The small values: experts, registries, usage, attempts, answers."""

from __future__ import annotations

import dataclasses
import pickle
from decimal import Decimal

import pytest

from crew_moe.domain.decision import Decision
from crew_moe.domain.expert import Capability, Tier, capability_bits
from crew_moe.domain.outcome import Attempt, ErrorClass
from crew_moe.domain.registry import Registry
from crew_moe.errors import UnknownExpert
from tests.routing.given import NOW, REGISTRY, decided, expert, market, refused


def attempt(error: ErrorClass | None = None, detail: str = "") -> Attempt:
    return Attempt(number=1, expert_id="one", ok=error is None, error=error, detail=detail, started_at=NOW)


def test_capabilities_are_distinct_bits() -> None:
    assert capability_bits(Capability) == 0xFF
    assert len({capability.bit for capability in Capability}) == 8


def test_tiers_are_ordered() -> None:
    assert [tier.rank for tier in (Tier.FAST, Tier.BASELINE, Tier.PREMIUM)] == [0, 1, 2]


def test_words_hash_as_their_strings() -> None:
    assert {Tier.FAST: 1}["fast"] == 1  # type: ignore[index]  # that is the point


def test_a_charge_rounds_each_part_up() -> None:
    one = expert(input_usd_per_mtok=Decimal("0.0001"), output_usd_per_mtok=Decimal("0.0001"))

    assert one.charge_nano(1, 1) == 2
    assert expert().charge_nano(1_000, 2_000) == 3_000_000
    assert not one.is_free
    assert REGISTRY["local/extractive"].is_free
    assert REGISTRY["local/extractive"].is_local


def test_a_registry_is_ordered_by_id_and_named_by_its_content() -> None:
    a, b = expert("a"), expert("b")

    assert [one.expert_id for one in market(b, a)] == ["a", "b"]
    assert market(a, b).digest == market(b, a).digest != market(a, expert("b", quality=0.1)).digest
    assert len(market(a, b)) == 2
    assert "a" in market(a)
    assert market(a, expert("c", provider="other")).providers == ("acme", "other")


def test_an_unknown_expert_gets_its_closest_match() -> None:
    with pytest.raises(UnknownExpert, match="did you mean 'gpt-4o-mini'"):
        REGISTRY["gpt-4o-mni"]


def test_an_empty_registry_is_a_registry() -> None:
    assert len(Registry(experts=())) == 0


@pytest.mark.parametrize(
    ("error", "counts"), [(None, True), ("server", True), ("timeout", True), ("bad_request", False), ("refused", False)]
)
def test_what_is_not_the_expert_s_fault_is_not_its_record(error: str | None, counts: bool) -> None:
    assert attempt(ErrorClass(error) if error else None).counts is counts


def test_an_attempt_reads_as_one_line() -> None:
    assert str(attempt()) == "one: ok"
    assert str(attempt(ErrorClass.SERVER)) == "one: server"
    assert str(attempt(ErrorClass.SERVER, "500")) == "one: server (500)"
    assert attempt(ErrorClass.SERVER).as_dict()["error"] == "server"


def test_a_decision_is_frozen_and_tells_everything() -> None:
    found = decided(min_quality=0.9)
    told = found.as_dict()

    with pytest.raises(dataclasses.FrozenInstanceError):
        found.expert_id = "other"  # type: ignore[misc]
    assert told["fallbacks"] == list(found.fallbacks)
    assert told["rejections"][0]["also"] is not None
    assert {name for name in told if hasattr(Decision, name) or name in Decision.__slots__} >= {"profile_id", "tier"}


def test_a_decision_prints_as_one_line_without_what_it_was_made_from() -> None:
    found = decided(min_quality=0.9)
    assert found.expert_id in repr(found)
    assert "basis" not in repr(found)
    assert len(repr(found)) < 400


def test_answers_survive_a_pickle() -> None:
    assert pickle.loads(pickle.dumps(refused(min_quality=1.0))).as_dict() == refused(min_quality=1.0).as_dict()  # noqa: S301 - our own bytes


def test_an_infeasible_answer_without_a_nearest_tells_none() -> None:
    assert dataclasses.replace(refused(min_quality=1.0), nearest=None).as_dict()["nearest"] is None
