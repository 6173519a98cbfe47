"""What every PageStore does, in memory, on disk or on a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crew_moe.domain.page import Page
from crew_moe.errors import InvalidInput
from crew_moe.ports import PageStore
from crew_moe.state import open_pages
from tests.contracts.metered import at_once
from tests.state.given import NOW, later

DAY_S = 86_400.0
ODD = ["", " ", "a b\n", "a\0b", "a%_*[?]{}", "Ünï ☃ 🜲", "\ud800", "a:b/c\\d'\"", "x" * 5_000, "1 never "]


@pytest.fixture(params=["memory", "sqlite", "redis"])
def pages(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PageStore]:
    here = {"memory": ":memory:", "sqlite": f"sqlite:///{tmp_path}/state.db"}
    opened = open_pages(here.get(request.param) or request.getfixturevalue("redis_url"))
    yield opened
    opened.close()


def put(pages: PageStore, name: str = "a", content: bytes = b"one", *, keep_s: float | None = None) -> Page:
    """A new page, or a new content of an old one, as it can be read then."""
    assert pages.write(name, content, NOW, over=version(pages, name), keep_s=keep_s)
    found = pages.read(name, NOW)
    assert found is not None
    return found


def version(pages: PageStore, name: str) -> int:
    found = pages.read(name, NOW)
    return 0 if found is None else found.version


def names(pages: PageStore, prefix: str = "") -> list[str]:
    return [page.name for page in pages.pages(prefix, NOW)]


def test_empty_store_has_no_page(pages: PageStore) -> None:
    assert pages.read("a", NOW) is None
    assert list(pages.pages("", NOW)) == []
    assert pages.erase("") == 0


def test_page_is_read_as_it_was_written(pages: PageStore) -> None:
    page = put(pages, "a", b"one")

    assert (page.name, page.content) == ("a", b"one")
    assert page.version != 0
    assert list(pages.pages("", NOW)) == [page]


def test_page_is_replaced_by_who_read_its_version(pages: PageStore) -> None:
    first = put(pages)

    assert pages.write("a", b"two", NOW, over=first.version)

    second = pages.read("a", NOW)
    assert second is not None
    assert second.content == b"two"
    assert second.version != first.version


@pytest.mark.parametrize("over", [0, -1, 1 << 80])
def test_page_that_was_not_read_is_not_replaced(pages: PageStore, over: int) -> None:
    page = put(pages)
    before = pages.version()

    assert not pages.write("a", b"two", NOW, over=over)

    assert (pages.read("a", NOW), pages.version()) == (page, before)


def test_version_that_was_replaced_is_never_right_again(pages: PageStore) -> None:
    first = put(pages, content=b"one")
    put(pages, content=b"two")
    put(pages, content=b"one")

    assert not pages.write("a", b"three", NOW, over=first.version)
    pages.erase("a")
    put(pages, content=b"one")
    assert not pages.write("a", b"three", NOW, over=first.version)


def test_page_that_is_not_there_is_not_replaced(pages: PageStore) -> None:
    other = put(pages, "b")

    assert not pages.write("a", b"one", NOW, over=other.version)
    assert names(pages) == ["b"]


@pytest.mark.parametrize("name", ODD, ids=range(len(ODD)))
def test_name_may_be_any_text(pages: PageStore, name: str) -> None:
    put(pages, "a")
    page = put(pages, name)

    assert pages.read(name, NOW) == page
    assert page in pages.pages(name, NOW)
    assert pages.erase(name) == len([one for one in ("a", name) if one.startswith(name)])
    assert pages.read(name, NOW) is None


@pytest.mark.parametrize(
    "content", [b"", b"\0", bytes(range(256)), b"\xff\xfe \n\r\0", bytes(range(256)) * 4_096], ids=range(5)
)
def test_content_may_be_any_bytes_up_to_a_mebibyte_and_more(pages: PageStore, content: bytes) -> None:
    assert put(pages, "a", content).content == content
    assert [page.content for page in pages.pages("a", NOW)] == [content]


def test_prefix_lists_what_begins_so_by_name(pages: PageStore) -> None:
    for name in ("arm:b", "arm:a", "arm", "Arm:a", "arm:é", "arm:\U0001f600", "arm:\ud800", "arm:\uffff", "arn"):
        put(pages, name)

    assert names(pages, "arm:") == ["arm:a", "arm:b", "arm:é", "arm:\ud800", "arm:\uffff", "arm:\U0001f600"]
    assert names(pages, "arm") == ["arm", *names(pages, "arm:")]
    assert names(pages) == ["Arm:a", *names(pages, "arm"), "arn"]
    assert names(pages, "b") == []


def test_erasing_a_prefix_leaves_the_others(pages: PageStore) -> None:
    for name in ("user:1", "user:1:x", "user:2", "users"):
        put(pages, name)

    assert pages.erase("user:1") == 2
    assert names(pages) == ["user:2", "users"]
    assert pages.erase("user:1") == 0


def test_version_changes_with_every_change(pages: PageStore) -> None:
    seen = [pages.version()]
    for change in (
        lambda: put(pages),
        lambda: put(pages),
        lambda: put(pages, "b", keep_s=DAY_S),
        lambda: pages.erase("a"),
    ):
        change()
        seen.append(pages.version())

    assert len(set(seen)) == len(seen)


def test_version_stays_while_nothing_changes(pages: PageStore) -> None:
    put(pages)
    before = pages.version()

    pages.read("a", NOW)
    pages.pages("", NOW)
    pages.write("a", b"two", NOW, over=0)
    pages.erase("b")

    assert pages.version() == before


def test_page_lasts_as_long_as_was_said(pages: PageStore) -> None:
    page = put(pages, keep_s=DAY_S)
    last, end = later(days=1, microseconds=-1), later(days=1)

    assert pages.read("a", last) == page
    assert list(pages.pages("", last)) == [page]
    assert pages.read("a", end) is None
    assert list(pages.pages("", end)) == []


def test_page_whose_time_is_over_is_as_one_that_never_was(pages: PageStore) -> None:
    old = put(pages, keep_s=DAY_S)
    end = later(days=1)

    assert not pages.write("a", b"two", end, over=old.version)
    assert pages.write("a", b"two", end, over=0)
    assert not pages.write("a", b"three", end, over=old.version)


def test_new_content_brings_its_own_time(pages: PageStore) -> None:
    put(pages, "shorter", keep_s=2 * DAY_S)
    put(pages, "shorter", keep_s=DAY_S)
    put(pages, "for good", keep_s=DAY_S)
    put(pages, "for good")

    put(pages, "c")
    assert pages.write("d", b"", later(days=1), over=0)  # what is over goes in passing
    assert [page.name for page in pages.pages("", later(days=400))] == ["c", "d", "for good"]


@pytest.mark.parametrize("keep_s", [0.0, -1.0, float("nan"), float("inf"), 1e12])
def test_time_that_is_none_is_refused(pages: PageStore, keep_s: float) -> None:
    with pytest.raises(InvalidInput, match=r"keep_s.*can't be kept for .*seconds above 0"):
        pages.write("a", b"one", NOW, over=0, keep_s=keep_s)

    assert names(pages) == []


def test_of_many_who_swap_at_once_none_loses_an_update(pages: PageStore) -> None:
    def count(number: int) -> None:
        name = f"page {number % 2}"
        while True:
            page = pages.read(name, NOW)
            before, content = (0, b"0") if page is None else (page.version, page.content)
            if pages.write(name, b"%d" % (int(content) + 1), NOW, over=before):
                return

    at_once(count, 60)

    assert [page.content for page in pages.pages("page", NOW)] == [b"30", b"30"]


def test_of_many_who_write_anew_at_once_one_succeeds(pages: PageStore) -> None:
    done = at_once(lambda number: pages.write(f"{number // 8}", b"%d" % number, NOW, over=0), 80)

    assert [sum(map(bool, done[8 * one : 8 * one + 8])) for one in range(10)] == [1] * 10


def test_close_may_be_called_twice(pages: PageStore) -> None:
    pages.close()
    pages.close()
