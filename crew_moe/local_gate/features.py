"""What the gate looks at in a text: its size, its shape and its words, as numbers. The text itself is not kept.

    text -> measures (m,), in their own units -> vector (F,): lengths by log(1 + x), shares as they are,
            languages (l,) by their confidence, words (w,) hashed into buckets, of length 1

The same text gives the same numbers on every machine; nothing is fitted. Seed 003, section 2.2.3.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from crew_moe.domain.screening import Language
from crew_moe.local_gate.measures import LENGTHS, MEASURES, head_words, measures
from crew_moe.ports import LanguageDetector

Vector = NDArray[np.float64]

BUCKETS: Final = 256
STEM: Final = 5  # letters of a word that count: `order`, `orders` and `ordered` are one
LONG_ENOUGH: Final = 80  # characters from which the language is asked for
LANGUAGES: Final = ("ar", "de", "en", "es", "fr", "hi", "it", "ja", "ko", "nl", "pl", "pt", "ru", "tr", "uk", "zh")
FEATURES: Final = (
    *MEASURES,
    *(f"language_{code}" for code in (*LANGUAGES, "other")),
    *(f"word_{bucket:03d}" for bucket in range(BUCKETS)),
)
_PLACES: Final = {name: place for place, name in enumerate(FEATURES)}
_FIRST_WORD: Final = len(FEATURES) - BUCKETS
_AROUND: Final = ".,;:!?\"'`()[]{}<>*_#"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextFeatures:
    """One text as numbers. `vector` (F,) stands in the order of FEATURES."""

    vector: Vector
    language: Language | None = None

    @property
    def measures(self) -> dict[str, float]:
        """By name, in the order of MEASURES and in their own units."""
        lengths, shares = np.expm1(self.vector[: len(LENGTHS)]), self.vector[len(LENGTHS) : len(MEASURES)]
        return dict(zip(MEASURES, np.round([*lengths, *shares], 6).tolist(), strict=True))

    def as_dict(self) -> dict[str, float]:
        """The measures, and the language with its confidence (seed 003's `input_features`). Buckets of words tell
        people nothing and are left out.
        """
        if self.language is None:
            return self.measures
        return {**self.measures, _name(self.language): self.language.confidence}


def features(text: str, languages: LanguageDetector | None = None) -> TextFeatures:
    """Look at a text; with a detector at its language too, where the text is long enough to tell.

    >>> seen = features("What does `a[i]` mean?")
    >>> seen.as_dict()["chars"], seen.as_dict()["questions"], len(seen.vector) == len(FEATURES)
    (22.0, 1.0, True)
    """
    found = measures(text)
    vector = np.zeros(len(FEATURES))
    vector[: len(MEASURES)] = [found[name] for name in MEASURES]
    np.log1p(vector[: len(LENGTHS)], out=vector[: len(LENGTHS)])
    language = languages.detect(text) if languages is not None and len(text) >= LONG_ENOUGH else None
    if language is not None:
        vector[_PLACES[_name(language)]] = language.confidence
    buckets = _buckets(head_words(text))
    if buckets:
        vector[buckets] = 1.0 / math.sqrt(len(buckets))
    vector.setflags(write=False)
    return TextFeatures(vector=vector, language=language)


def vector_of(told: Mapping[str, float]) -> Vector:
    """The vector by its entries' names; what is not told is 0. Raises KeyError for a name that is none of FEATURES."""
    vector = np.zeros(len(FEATURES))
    for name, value in told.items():
        vector[_PLACES[name]] = value
    return vector


def _buckets(words: Iterable[str]) -> list[int]:
    """The places of the words that occur, in no particular order."""
    bare = {word.strip(_AROUND)[:STEM] for word in set(words)}
    return list({_FIRST_WORD + zlib.crc32(word.encode("utf-8", "surrogatepass")) % BUCKETS for word in bare if word})


def _name(language: Language) -> str:
    return f"language_{language.code if language.code in LANGUAGES else 'other'}"
