"""A page: one small document of a PageStore."""

from __future__ import annotations

from typing import NamedTuple


class Page(NamedTuple):
    """One document; `version` is what a compare-and-swap names, never 0."""

    name: str
    content: bytes
    version: int
