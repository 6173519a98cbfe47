"""The race for one budget and the random lives of a ledger, ten times as long."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from crew_moe.domain.money import to_nano
from tests.acceptance.ledger_race import KILLED, race
from tests.state.test_ledger_machine import Begins, Machine, begins

__all__ = ["begins"]  # a fixture

pytestmark = pytest.mark.soak

SEED = int.from_bytes(os.urandom(4), "big")  # another race every time; the failure shows which


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_long_race_ends_with_every_nano_in_its_place(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = request.getfixturevalue("redis_url") if store == "redis" else f"sqlite:///{tmp_path}/budget.db"

    finished = race(url, tmp_path, processes=8, steps=20_000, seed=SEED)
    lapsed = finished.finish()

    statuses = finished.ledger.statuses()
    amounts = {one.scope: (to_nano(one.settled_usd), to_nano(one.overrun_usd)) for one in statuses}
    assert finished.codes == {0: 8, KILLED: finished.deaths}, SEED
    assert finished.passed == [], SEED
    assert {status.reserved_usd for status in statuses} == {0}, SEED
    assert amounts == finished.expected(lapsed), SEED
    finished.ledger.close()


def test_random_lives_follow_the_model(begins: Begins) -> None:
    class Life(Machine):
        def __init__(self) -> None:
            super().__init__(begins())

    run_state_machine_as_test(Life, settings=settings(max_examples=2_000, stateful_step_count=60, deadline=None))
