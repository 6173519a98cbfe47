"""Keys are dealt to arms: for good, by share, and anew for every experiment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe import RoutingRequest
from crew_moe.learning.experiment import Arm, arm_of, key_of, unit_of
from crew_moe.learning.experiment.assignment import UNITS

KEYS = [f"user:{number}" for number in range(4_000)]


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"session_key": "s", "run_id": "r", "user": "u", "tenant": "t"}, "session_key:s"),
        ({"run_id": "r", "user": "u", "tenant": "t"}, "run_id:r"),
        ({"user": "u", "tenant": "t"}, "user:u"),
        ({"tenant": "t"}, "tenant:t"),
        ({}, "decision:d-1"),
    ],
)
def test_key_is_the_narrowest_that_stays(fields: dict[str, str], key: str) -> None:
    assert key_of(RoutingRequest(**fields), "d-1") == key


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_share_of_the_keys_is_the_candidates(share: float) -> None:
    dealt = sum(arm_of(key, salt=b"a", share=share) is Arm.CANDIDATE for key in KEYS)

    assert abs(dealt / len(KEYS) - share) < 4 * (share * (1 - share) / len(KEYS)) ** 0.5


@given(key=st.text(), salt=st.binary(max_size=32))
def test_key_keeps_its_arm(key: str, salt: bytes) -> None:
    assert arm_of(key, salt=salt, share=0.5) is arm_of(key, salt=salt, share=0.5)
    assert arm_of(key, salt=salt, share=0.0) is Arm.CONTROL
    assert arm_of(key, salt=salt, share=1.0) is Arm.CANDIDATE


def test_experiments_deal_independently_of_each_other() -> None:
    both = sum(arm_of(key, salt=b"a", share=0.5) is arm_of(key, salt=b"b", share=0.5) for key in KEYS)

    assert abs(both / len(KEYS) - 0.5) < 0.04


def test_units_are_even_and_know_nothing_of_arms() -> None:
    first = [key for key in KEYS if unit_of(key, salt=b"a") < UNITS // 2]
    dealt = sum(arm_of(key, salt=b"a", share=0.5) is Arm.CANDIDATE for key in first)

    assert abs(len(first) / len(KEYS) - 0.5) < 0.04
    assert abs(dealt / len(first) - 0.5) < 0.05
