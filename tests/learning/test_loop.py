"""The loop: each answer teaches its arm once, in however many parts it is told, and a lost store breaks nothing."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crew_moe.clock import ManualClock
from crew_moe.domain.policy import BanditPolicy, Horizon, LearningPolicy, RewardPolicy
from crew_moe.errors import StateError
from crew_moe.learning.arm_pages import OF, POOL, ArmPages
from crew_moe.learning.arms import Arm
from crew_moe.learning.context import SIZE
from crew_moe.learning.loop import Loop
from crew_moe.learning.price import PRICE, PricePage
from crew_moe.learning.rewards import Facts, Rewards
from crew_moe.ports import PageStore
from crew_moe.state import open_pages
from crew_moe.state.memory.pages import MemoryPages
from crew_moe.telemetry.events import Recorder
from tests.state.given import NOW

POLICY = LearningPolicy()
X = np.eye(SIZE)[0]
SERVED = Facts(expert_id="o1", success=True, cost_usd=0.25)


def _row(decision_id: str = "d1", *, quality: float = 0.5, vector: list[float] | None = None) -> dict[str, Any]:
    return {
        "decision_id": decision_id,
        "created_at": NOW.isoformat(),
        "estimated_cost_usd": "0.5",
        "insight": {"vector": X.tolist() if vector is None else vector, "quality": {}},
        "roster": {"ids": ["gpt-4o", "o1"], "quality": [0.9, quality]},
    }


def _judged(quality: float) -> Facts:
    return Facts(expert_id="o1", quality=quality)


def _loop(pages: PageStore, policy: LearningPolicy = POLICY, sink: Recorder | None = None) -> Loop:
    rewards = Rewards(RewardPolicy())
    return Loop(pages, policy=policy, rewards=rewards, clock=ManualClock(NOW), sink=sink or Recorder())


def _arm(pages: PageStore, name: str = OF + "o1") -> Arm:
    page = pages.read(name, NOW)
    assert page is not None
    return Arm.from_bytes(page.content)


def test_an_answer_counts_once_and_its_parts_put_it_right() -> None:
    pages = MemoryPages()
    loop = _loop(pages)

    loop.served(_row(), SERVED, 0.25)
    loop.served(_row(), SERVED, 0.25)
    first = _arm(pages)
    loop.judged(_row(), _judged(0.2), "a", 1.0)

    assert (first.seen, first.moment[0]) == (1.0, 0.0)
    assert (_arm(pages).seen, _arm(pages).moment[0]) == (1.0, pytest.approx(0.2 - 0.5))
    assert np.array_equal(_arm(pages).inverse, first.inverse)


def test_parts_in_any_order_teach_the_same() -> None:
    there, back = MemoryPages(), MemoryPages()
    _loop(there).served(_row(), SERVED, 0.25)
    _loop(there).judged(_row(), _judged(0.2), "a", 0.5)
    _loop(back).judged(_row(), _judged(0.2), "a", 0.5)
    _loop(back).served(_row(), SERVED, 0.25)

    assert _arm(there).moment == pytest.approx(_arm(back).moment)
    assert _arm(there).inverse == pytest.approx(_arm(back).inverse)


def test_a_share_is_that_part_of_an_observation() -> None:
    pages = MemoryPages()
    _loop(pages).judged(_row(), _judged(1.0), "a", 0.25)

    expected = Arm.fresh(ArmPages(pages, POLICY.bandit).read(["o1"], NOW).precision).learned(X * 0.5, 0.25)
    assert _arm(pages).inverse == pytest.approx(expected.inverse)
    assert _arm(pages).moment == pytest.approx(X * 0.25 * 0.5)


def test_one_client_adds_no_more_to_an_arm_than_its_shares() -> None:
    pages = MemoryPages()
    loop = _loop(pages)
    for number, share in enumerate([1.0, 1.0, 0.5, 0.0, 0.0]):
        loop.judged(_row(f"d{number}", quality=0.0), _judged(1.0), "poison", share)

    assert _arm(pages).moment[0] == pytest.approx(2.5)


def test_what_was_predicted_is_where_an_arm_begins() -> None:
    pages = MemoryPages()
    row = _row()
    row["insight"]["quality"] = {"o1": 0.75}
    _loop(pages).judged(row, _judged(0.75), "a", 1.0)

    assert _arm(pages).moment == pytest.approx(np.zeros(SIZE))


def test_a_decision_without_a_context_teaches_nothing() -> None:
    pages = MemoryPages()
    _loop(pages).judged(_row(vector=[]), _judged(1.0), "a", 1.0)
    _loop(pages).judged({**_row(), "insight": None}, _judged(1.0), "a", 1.0)

    assert pages.pages("", NOW) == []


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    here = {"memory": ":memory:", "sqlite": f"sqlite:///{tmp_path}/state.db"}
    return here.get(request.param) or str(request.getfixturevalue("redis_url"))


def test_what_many_learn_at_once_is_all_learned(url: str) -> None:
    pages = open_pages(url)
    loops = [_loop(pages), _loop(pages if url == ":memory:" else open_pages(url))]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: loops[n % 2].judged(_row(f"d{n // 2}"), _judged(1.0), f"v{n % 2}", 1.0), range(32)))

    assert _arm(pages).seen == 16.0
    assert _arm(pages).moment[0] == pytest.approx(8.0)
    assert _arm(pages, POOL).seen == 16.0


def test_spending_moves_the_price_once_for_each_answer() -> None:
    pages, horizon = MemoryPages(), Horizon(usd=Decimal(1), requests=10)
    loop = _loop(pages, replace(POLICY, horizon=horizon))
    price = PricePage(pages, horizon)

    assert price.read(NOW).price == 0.0
    loop.served(_row(), SERVED, 0.25)
    after = price.read(NOW).price
    loop.judged(_row(), _judged(1.0), "a", 1.0)

    assert after > 0.0
    assert price.read(NOW).price == after


def test_a_bill_that_changes_is_put_right(url: str) -> None:
    pages, horizon = open_pages(url), Horizon(usd=Decimal(1), requests=10)
    loop = _loop(pages, replace(POLICY, horizon=horizon))
    loop.served(_row(), SERVED, 0.25)
    loop.served(_row(), SERVED, 0.75)
    loop.served(_row("d2"), SERVED, 0.125)

    page = pages.read(PRICE, NOW)
    assert page is not None
    kept = json.loads(page.content)
    assert (kept["served"], kept["spent_usd"]) == (2, pytest.approx(0.875))


def test_a_bill_that_is_not_known_counts_as_estimated() -> None:
    horizon = Horizon(usd=Decimal(1), requests=10)
    told, estimated = MemoryPages(), MemoryPages()
    _loop(told, replace(POLICY, horizon=horizon)).served(_row(), SERVED, 0.5)
    _loop(estimated, replace(POLICY, horizon=horizon)).served(_row(), SERVED, None)

    assert PricePage(told, horizon).read(NOW) == PricePage(estimated, horizon).read(NOW)


def test_late_parts_of_what_has_faded_count_as_faded() -> None:
    pages, fading = MemoryPages(), replace(POLICY, bandit=BanditPolicy(half_life=4.0))
    loop = _loop(pages, fading)
    loop.judged(_row("first"), _judged(0.5), "a", 1.0)
    for number in range(8):
        loop.judged(_row(f"d{number}"), _judged(0.5), "a", 1.0)
    loop.judged(_row("first"), _judged(1.0), "b", 1.0)

    assert _arm(pages).moment[0] == pytest.approx(0.25 * 0.25, rel=0.2)


def test_a_lost_store_is_an_event_and_no_more() -> None:
    class Lost(MemoryPages):
        def read(self, *_: object) -> None:
            raise StateError("gone")

    sink = Recorder()
    _loop(Lost(), sink=sink).judged(_row(), _judged(1.0), "a", 1.0)

    assert list(sink.events) == [("learning_failed", {"decision_id": "d1", "error": "gone"})]


def test_arms_of_other_contexts_begin_anew() -> None:
    pages = MemoryPages()
    old = Arm.fresh(np.ones(3))
    pages.write(OF + "o1", old.to_bytes(), NOW, over=0)
    pages.write(POOL, old.to_bytes(), NOW, over=0)
    _loop(pages).judged(_row(), _judged(1.0), "a", 1.0)

    assert len(_arm(pages).moment) == SIZE
