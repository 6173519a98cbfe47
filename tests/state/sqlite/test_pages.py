"""What the pages on disk alone promise: they outlive their process, share a file with the state, and clean up."""

from __future__ import annotations

from pathlib import Path

import pytest

from crew_moe.errors import StateError
from crew_moe.state import open_pages, open_state
from crew_moe.state.sqlite.pages import SQLitePages
from tests.state.given import NOW, POLICY, SAMPLE, later


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def test_page_is_known_to_whoever_opens_the_file_next(path: Path) -> None:
    first = SQLitePages(path)
    first.write("a", b"\0one", NOW, over=0)
    page = first.read("a", NOW)
    first.close()
    second = SQLitePages(path)

    assert second.read("a", NOW) == page
    second.close()


def test_change_by_another_moves_the_version(path: Path) -> None:
    mine, other = SQLitePages(path), SQLitePages(path)
    before = mine.version()

    other.write("a", b"one", NOW, over=0)

    assert mine.version() != before
    assert mine.version() == other.version()
    mine.close()
    other.close()


def test_pages_and_state_share_one_file_and_no_version(path: Path) -> None:
    url = f"sqlite:///{path}"
    store, pages = open_state(url, POLICY), open_pages(url)
    before = store.version(), pages.version()

    pages.write("a", b"one", NOW, over=0)
    assert store.version() == before[0]
    now_there = pages.version()
    store.record(SAMPLE, NOW)

    assert pages.version() == now_there != before[1]
    store.close()
    pages.close()


def test_rows_of_what_is_over_go_in_passing(path: Path) -> None:
    pages = SQLitePages(path)
    for days in range(10):
        pages.write(f"a{days}", b"one", later(days=days), over=0, keep_s=86_400.0)

    with pages._database.reading() as connection:
        assert connection.execute("SELECT name FROM pages").fetchall() == [(b"a9",)]
    pages.close()


def test_look_takes_no_write_lock(path: Path) -> None:
    pages, other = SQLitePages(path), SQLitePages(path)

    with other._database.writing():
        assert pages.read("a", NOW) is None
        assert pages.pages("", NOW) == []
        assert pages.version() == 0
    pages.close()
    other.close()


def test_child_of_a_fork_opens_the_file_anew(path: Path) -> None:
    pages = SQLitePages(path)
    pages.write("a", b"one", NOW, over=0)
    before = pages.version()

    pages._database.begin_anew()

    assert pages.version() == before
    assert pages.write("b", b"two", NOW, over=0)
    pages.close()


def test_closed_file_is_one_clear_error(path: Path) -> None:
    pages = SQLitePages(path)
    pages.close()

    with pytest.raises(StateError, match="is closed"):
        pages.read("a", NOW)
    with pytest.raises(StateError, match="is closed"):
        pages.write("a", b"", NOW, over=0)
