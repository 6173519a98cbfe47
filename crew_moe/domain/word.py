"""Base of the package's vocabularies."""

from __future__ import annotations

from enum import StrEnum


class Word(StrEnum):
    """A StrEnum that hashes as its string does: at C speed, which the hot path of a decision feels."""

    __hash__ = str.__hash__
