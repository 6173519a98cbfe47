"""Texts in a language that a policy does not expect: nobody has looked whether its other detectors understand it."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from typing import Final

from crew_moe.domain.screening import Concern, Finding
from crew_moe.ports import LanguageDetector
from crew_moe.screening.language import language_detector


class ForeignLanguage:
    """Implements ports.Detector. `expected` holds ISO 639-1 codes; a text too short to tell is no foreign one."""

    concern: Final = Concern.LANGUAGE

    def __init__(self, expected: Collection[str]) -> None:
        self._expected = frozenset(expected)

    @cached_property
    def _languages(self) -> LanguageDetector:
        return language_detector()

    @property
    def version(self) -> str:
        return f"{type(self._languages).__name__}/{'+'.join(sorted(self._expected))}"

    def assess(self, text: str) -> Finding:
        found = self._languages.detect(text)
        foreign = found is not None and found.code not in self._expected
        score = found.confidence if found is not None and foreign else 0.0
        return Finding(concern=self.concern, score=score, version=self.version)
