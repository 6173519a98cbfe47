"""The language of a text: by its script where the script tells, by lingua for longer texts in letters that many share.

lingua is the extra `lang`; without it, a Latin text has no language here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from crew_moe.domain.screening import Language
from crew_moe.errors import MissingExtra
from crew_moe.ports import LanguageDetector

if TYPE_CHECKING:
    import lingua

_LOOKED_AT: Final = 4_000  # characters: the language of a text shows in its beginning
_SHARE: Final = 0.4  # of all letters, from which a script speaks for the text
_LETTER: Final = re.compile(r"[^\W\d_]")

# Letters -> language, how sure. The first row whose letters make up the share wins; a mark narrows the script down.
_SCRIPTS: Final = (
    (re.compile("[\uac00-\ud7af\u1100-\u11ff]"), None, "ko", 1.0),
    (re.compile("[\u3040-\u30ff\u4e00-\u9fff]"), re.compile("[\u3040-\u30ff]"), "ja", 1.0),
    (re.compile("[\u4e00-\u9fff\u3400-\u4dbf]"), None, "zh", 0.95),
    (re.compile("[\u0e00-\u0e7f]"), None, "th", 1.0),
    (re.compile("[\u0590-\u05ff]"), None, "he", 0.95),
    (re.compile("[\u0370-\u03ff\u1f00-\u1fff]"), None, "el", 1.0),
    (re.compile("[\u0530-\u058f]"), None, "hy", 1.0),
    (re.compile("[\u10a0-\u10ff]"), None, "ka", 1.0),
    (re.compile("[\u0980-\u09ff]"), None, "bn", 0.9),
    (re.compile("[\u0b80-\u0bff]"), None, "ta", 1.0),
    (re.compile("[\u0c00-\u0c7f]"), None, "te", 1.0),
    (re.compile("[\u0a80-\u0aff]"), None, "gu", 1.0),
    (re.compile("[\u0a00-\u0a7f]"), None, "pa", 1.0),
    (re.compile("[\u0c80-\u0cff]"), None, "kn", 1.0),
    (re.compile("[\u0d00-\u0d7f]"), None, "ml", 1.0),
    (re.compile("[\u0d80-\u0dff]"), None, "si", 1.0),
    (re.compile("[\u0e80-\u0eff]"), None, "lo", 1.0),
    (re.compile("[\u1000-\u109f]"), None, "my", 1.0),
    (re.compile("[\u1780-\u17ff]"), None, "km", 1.0),
    (re.compile("[\u1200-\u137f]"), None, "am", 0.8),
    (re.compile("[\u0900-\u097f]"), None, "hi", 0.7),
    (re.compile("[\u0600-\u06ff]"), re.compile("[ٹڈڑںے]"), "ur", 0.9),
    (re.compile("[\u0600-\u06ff]"), re.compile("[پچژگ]"), "fa", 0.9),
    (re.compile("[\u0600-\u06ff]"), None, "ar", 0.8),
    (re.compile("[\u0400-\u04ff]"), re.compile("[іїєґ]"), "uk", 0.9),
    (re.compile("[\u0400-\u04ff]"), re.compile("[ђћљњџј]"), "sr", 0.9),
    (re.compile("[\u0400-\u04ff]"), re.compile("[ыэё]"), "ru", 0.9),
    (re.compile("[\u0400-\u04ff]"), None, "ru", 0.6),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ScriptDetector:
    """Knows the languages that have a script to themselves, and guesses among those that share one.

    >>> ScriptDetector().detect("これは何ですか")
    Language(code='ja', confidence=1.0)
    >>> ScriptDetector().detect("What is this?") is None
    True
    """

    def detect(self, text: str) -> Language | None:
        if text.isascii():
            return None
        text = text[:_LOOKED_AT].lower()
        letters = len(_LETTER.findall(text))
        for script, mark, code, confidence in _SCRIPTS:
            if len(script.findall(text)) > _SHARE * letters and (mark is None or mark.search(text)):
                return Language(code=code, confidence=confidence)
        return None


_ENOUGH: Final = 16  # letters; below that a guess among Latin languages is a coin
_SURE: Final = 0.6
_CERTAIN: Final = 0.9  # a script that tells this surely needs no second opinion
_NOT_PROSE: Final = re.compile(r"```.{0,4000}?(?:```|\Z)|https?://\S{1,2000}+|\S{1,64}+@\S{1,255}+", re.DOTALL)
_CODES: Final = (
    "AF", "SQ", "AR", "EU", "BE", "BG", "BS", "CA", "HR", "CS", "DA", "NL", "EN", "ET", "FI", "FR", "DE", "HI", "HU",
    "IS", "ID", "GA", "IT", "KK", "LV", "LT", "MK", "MS", "MR", "MN", "NB", "NN", "FA", "PL", "PT", "RO", "RU", "SR",
    "SK", "SL", "ES", "SW", "SV", "TL", "TR", "UK", "UR", "VI", "CY",
)  # fmt: skip


class LinguaDetector:
    """lingua over the letters that its scripts share, `ScriptDetector` for the others; models load at the first use.

    Its low-accuracy mode is meant: it reads trigrams alone, which takes a tenth of the memory and errs on short words
    only, and those are not asked about.
    """

    def __init__(self) -> None:
        if find_spec("lingua") is None:
            raise MissingExtra("lang", "lingua")
        self._scripts = ScriptDetector()

    @cached_property
    def _lingua(self) -> lingua.LanguageDetector:
        from lingua import IsoCode639_1, LanguageDetectorBuilder

        codes = [getattr(IsoCode639_1, code) for code in _CODES]
        return LanguageDetectorBuilder.from_iso_codes_639_1(*codes).with_low_accuracy_mode().build()

    def detect(self, text: str) -> Language | None:
        guess = self._scripts.detect(text)
        if guess is not None and guess.confidence >= _CERTAIN:
            return guess
        prose = _NOT_PROSE.sub(" ", text[:_LOOKED_AT])
        if len(_LETTER.findall(prose)) < _ENOUGH:
            return guess
        best = self._lingua.compute_language_confidence_values(prose)[0]
        if best.value < _SURE:
            return guess
        return Language(code=best.language.iso_code_639_1.name.lower(), confidence=round(best.value, 3))


def language_detector() -> LanguageDetector:
    """The best one that is installed."""
    return ScriptDetector() if find_spec("lingua") is None else LinguaDetector()
