"""Who reads texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from crew_moe.domain.screening import Concern, Finding, Language

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Detector(Protocol):
    """Looks for one concern in one text; pure, safe for threads, linear in the text's length."""

    @property
    def concern(self) -> Concern: ...

    @property
    def version(self) -> str: ...

    def assess(self, text: str) -> Finding: ...


class LanguageDetector(Protocol):
    """Tells the language of a text; None where the text is too short or too mixed to tell."""

    def detect(self, text: str) -> Language | None: ...


class Embedder(Protocol):
    """Turns texts into vectors that are near where the texts mean the same; pure, safe for threads."""

    @property
    def version(self) -> str:
        """Changes with everything that the vectors depend on."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One row for each text, of length 1: (texts, dimensions)."""
