"""What the pages in memory alone promise: bounded growth, and use after a fork."""

from __future__ import annotations

from crew_moe.state.memory.pages import FEW, MemoryPages
from tests.state.given import NOW, later


def test_pages_whose_time_is_over_make_room() -> None:
    pages = MemoryPages()
    for number in range(1_000):
        assert pages.write(f"a{number}", b"", later(seconds=number), over=0, keep_s=10.0)

    assert len(pages._pages) <= FEW


def test_lock_that_the_parent_held_does_not_stop_a_forked_child() -> None:
    pages = MemoryPages()
    pages.write("a", b"one", NOW, over=0)

    with pages._lock:
        pages.begin_anew()
        assert [page.content for page in pages.pages("", NOW)] == [b"one"]
