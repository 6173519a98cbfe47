"""Changing a page that others change too: read, work out, put in its place, and again where somebody was faster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, TypeVar

from crew_moe.domain.page import Page
from crew_moe.errors import StateError
from crew_moe.ports import PageStore

T = TypeVar("T")
TRIES: Final = 200  # of two that meet one always gets through: so many mean that something else is wrong


@dataclass(frozen=True, slots=True)
class Turn(Generic[T]):
    """What a change comes to: the page's new content (None: it stays), and what whoever asked wants to know."""

    content: bytes | None
    answer: T


def changed(
    pages: PageStore,
    name: str,
    change: Callable[[Page | None], Turn[T]],
    now: datetime,
    *,
    keep_s: float | None = None,
) -> T:
    """Apply a pure change to one page, atomically; its answer is that of the try which held. Raises StateError."""
    for _ in range(TRIES):
        page = pages.read(name, now)
        turn = change(page)
        if turn.content is None:
            return turn.answer
        if pages.write(name, turn.content, now, over=0 if page is None else page.version, keep_s=keep_s):
            return turn.answer
    raise StateError(f"the page '{name}' changes too fast to be changed")
