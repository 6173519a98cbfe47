"""What the pages in memory alone promise: bounded growth, and use after a fork."""

from __future__ import annotations

from crew_moe.state.memory.pages import FEW, MemoryPages
from tests.state.given import NOW, later


def test_pages_whose_time_is_over_make_room() -> None:
    pages = MemoryPages()
    for number in range(1_000):
        assert pages.write(f"a{number}", b"", later(seconds=number), over=0, keep_s=10.0)

    assert len(pages._pages) == 10
    assert len(pages._endings) == 10


def test_page_that_is_written_again_and_again_leaves_no_trail() -> None:
    pages = MemoryPages()
    for version in range(1_000):
        assert pages.write("a", b"", NOW, over=version, keep_s=60.0)

    assert len(pages._endings) <= FEW + 2
    assert pages.read("a", later(seconds=60)) is None


def test_lock_that_the_parent_held_does_not_stop_a_forked_child() -> None:
    pages = MemoryPages()
    pages.write("a", b"one", NOW, over=0)

    with pages._lock:
        pages.begin_anew()
        assert [page.content for page in pages.pages("", NOW)] == [b"one"]
