"""How far one voice reaches: the bound holds whatever it says, and for all who share the pages."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.outcome import Sample
from crew_moe.domain.snapshot import Performance
from crew_moe.errors import StateError
from crew_moe.learning.voices import HALF_LIFE, Voices, page_name
from crew_moe.ports import PageStore
from crew_moe.state import open_pages
from crew_moe.state.memory.pages import MemoryPages
from crew_moe.state.performance import ALPHA, fold
from tests.state.given import NOW, STEADY

CAP = 5.0
ONE = ("client-7", "gpt-4o", "testing")
RATED = st.tuples(st.sampled_from(["poison", "a", "b", "c"]), st.floats(0.0, 1.0))


@pytest.fixture(params=["memory", "sqlite", "redis"])
def pages(request: pytest.FixtureRequest, tmp_path: Path) -> PageStore:
    here = {"memory": ":memory:", "sqlite": f"sqlite:///{tmp_path}/state.db"}
    return open_pages(here.get(request.param) or str(request.getfixturevalue("redis_url")))


def test_a_source_counts_whole_until_its_room_is_used(pages: PageStore) -> None:
    voices = Voices(pages, 2.5)

    assert [voices.share(*ONE, NOW) for _ in range(4)] == [1.0, 1.0, 0.5, 0.0]
    assert voices.share("client-8", "gpt-4o", "testing", NOW) == 1.0
    assert voices.share("client-7", "gpt-4o", "planning", NOW) == 1.0
    assert voices.share("client-7", "o1", "testing", NOW) == 1.0


def test_room_comes_back_by_half_every_week(pages: PageStore) -> None:
    voices = Voices(pages, 1.0)
    assert voices.share(*ONE, NOW) == 1.0

    assert voices.share(*ONE, NOW + HALF_LIFE) == pytest.approx(0.5)
    assert voices.share(*ONE, NOW + HALF_LIFE) == 0.0
    assert voices.share(*ONE, NOW + timedelta(weeks=40)) == 1.0


def test_a_clock_that_runs_back_gives_no_room(pages: PageStore) -> None:
    voices = Voices(pages, 1.0)
    voices.share(*ONE, NOW + timedelta(days=3))

    assert voices.share(*ONE, NOW) == 0.0


def test_all_who_share_the_pages_share_the_room(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    voices = [Voices(open_pages(url), CAP) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        shares = list(pool.map(lambda turn: voices[turn % 4].share(*ONE, NOW), range(24)))

    assert sum(shares) == pytest.approx(CAP)


def test_a_page_that_can_not_be_read_is_an_error_of_the_state(pages: PageStore) -> None:
    pages.write(page_name(*ONE), b"[1]", NOW, over=0)

    with pytest.raises(StateError, match="has used can't be read"):
        Voices(pages, CAP).share(*ONE, NOW)


@STEADY
@given(st.lists(RATED, max_size=60), st.floats(0.5, 8.0))
def test_one_source_moves_an_average_no_further_than_its_room(rated: list[tuple[str, float]], cap: float) -> None:
    voices = Voices(MemoryPages(), cap)
    moved: Performance | None = None
    without: Performance | None = None
    for source, rating in rated:
        sample = Sample(
            expert_id="gpt-4o",
            task_type="testing",
            success=None,
            quality=rating,
            reward=rating,
            weight=voices.share(source, "gpt-4o", "testing", NOW),
            quality_prior=0.9,
            reward_prior=0.5,
        )
        moved = fold(moved, sample, NOW)
        without = without if source == "poison" else fold(without, sample, NOW)

    bound = 1.0 - (1.0 - ALPHA) ** cap + 1e-9
    assert abs(_of(moved, "learned", 0.5) - _of(without, "learned", 0.5)) <= bound
    assert abs(_of(moved, "quality", 0.9) - _of(without, "quality", 0.9)) <= bound


def _of(performance: Performance | None, name: str, otherwise: float) -> float:
    return otherwise if performance is None else float(getattr(performance, name))
