"""Preferences: what one user thinks of an expert beyond everybody, shrunk while there is little of it, and erasable."""

from __future__ import annotations

from datetime import timedelta

import pytest

from crew_moe.errors import StateError
from crew_moe.learning.preferences import (
    EVERYBODY,
    KEPT_S,
    MEMORY,
    Mean,
    Preferences,
    User,
    deviations,
    forget,
    means_in,
)
from crew_moe.state.memory.pages import MemoryPages
from tests.state.given import NOW

ANNA, BEN = User("aa", "t1"), User("bb", "t1")


def _learned(pages: MemoryPages, user: User, reward: float, times: int = 1) -> None:
    for _ in range(times):
        Preferences(pages).learn(user, "o1", reward, 1.0, NOW)


def _deviation(pages: MemoryPages, user: User, samples: float = 20.0) -> float:
    everybody = means_in(pages.read(EVERYBODY, NOW))
    return deviations(means_in(pages.read(user.page, NOW)), everybody, samples)["o1"]


def test_a_user_deviates_from_everybody_as_far_as_there_is_evidence() -> None:
    pages = MemoryPages()
    _learned(pages, ANNA, 1.0, times=5)
    _learned(pages, BEN, 0.0, times=5)

    assert _deviation(pages, ANNA) == pytest.approx(5 / 25 * 0.5)
    assert _deviation(pages, BEN) == pytest.approx(-5 / 25 * 0.5)
    assert _deviation(pages, ANNA, samples=5.0) == pytest.approx(5 / 10 * 0.5)


def test_a_user_who_is_everybody_deviates_from_nobody() -> None:
    pages = MemoryPages()
    _learned(pages, ANNA, 0.3, times=9)

    assert _deviation(pages, ANNA) == pytest.approx(0.0)


def test_means_forget() -> None:
    mean = Mean()
    for _ in range(500):
        mean = mean.after(1.0, 1.0)
    for _ in range(100):
        mean = mean.after(0.0, 1.0)

    assert mean.value == pytest.approx((1 - 1 / MEMORY) ** 100)


def test_a_judgement_that_counts_nothing_leaves_no_trace() -> None:
    pages = MemoryPages()
    Preferences(pages).learn(ANNA, "o1", 1.0, 0.0, NOW)

    assert pages.pages("", NOW) == []


def test_forgetting_one_user_leaves_the_others() -> None:
    pages = MemoryPages()
    for user in (ANNA, ANNA._replace(tenant="t2"), BEN, User("aab")):
        _learned(pages, user, 1.0)

    assert forget(pages, "aa") == 2
    assert pages.read(ANNA.page, NOW) is None
    assert pages.read(BEN.page, NOW) is not None
    assert pages.read(User("aab").page, NOW) is not None
    assert forget(pages, "aa") == 0


def test_a_user_who_no_longer_comes_is_forgotten() -> None:
    pages = MemoryPages()
    _learned(pages, ANNA, 1.0)

    assert pages.read(ANNA.page, NOW + timedelta(seconds=KEPT_S)) is None
    assert pages.read(EVERYBODY, NOW + timedelta(seconds=KEPT_S)) is not None


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"o1": 1}', b'{"o1": [1, 2, 3]}'])
def test_a_page_of_something_else_is_an_error_of_the_state(content: bytes) -> None:
    pages = MemoryPages()
    pages.write(ANNA.page, content, NOW, over=0)

    with pytest.raises(StateError, match="preferences can't be read"):
        means_in(pages.read(ANNA.page, NOW))
