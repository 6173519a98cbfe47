"""TextRank over the sentences and words of a text, by the `summa` library.

Barrios, F. et al.: Variations of the Similarity Function of TextRank for Automated Summarization, 2016
(arXiv:1602.03606).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from typing import Any, Final

from crew_moe.errors import MissingExtra
from crew_moe.local_gate.extractive.sentences import Sentence, split, title_of

MAX_CHARS: Final = 24_000
"""TextRank's work grows with the square of the sentences: more text than this is sampled (start, middle, end)."""
MAX_SENTENCES: Final = 120
KEYWORD_SENTENCES: Final = 15
MAX_KEYWORDS: Final = 8
MAX_KEYWORD_CHARS: Final = 40
STEM_CHARS: Final = 5
"""Words that begin alike count as one: outage, outages."""
RELEVANCE_WEIGHT: Final = 2.0
"""Sharing all words with the request weighs twice as much as being the most central sentence."""
SUMMARY_BONUS: Final = 0.5
"""For sentences that the author put under a heading such as "Summary"."""

_WORD: Final = re.compile(r"\w+")
_SUMMARY: Final = re.compile(r"\b(?:summary|abstract|overview|conclusions?|key points|tl;dr)\b", re.IGNORECASE)
_LOCK: Final = Lock()  # summa keeps stemmer and stop words of the last language in module globals


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A text's title, its sentences in order with their centrality (0 to 1), and its keywords, best first."""

    title: str
    sentences: tuple[Sentence, ...]
    centrality: tuple[float, ...]
    keywords: tuple[str, ...]
    stopwords: frozenset[str]

    def best(self, request: str = "") -> list[Sentence]:
        """Every sentence, best first: central ones, and those that share words with the request (so may a heading)."""
        asked = self._stems(request)
        scores = {
            sentence: central + self._bonus(sentence, asked)
            for sentence, central in zip(self.sentences, self.centrality, strict=True)
        }
        return sorted(scores, key=lambda sentence: (-scores[sentence], sentence.number))

    def _bonus(self, sentence: Sentence, asked: frozenset[str]) -> float:
        shared = asked & self._stems(f"{sentence.section} {sentence.text}")
        summary = SUMMARY_BONUS if _SUMMARY.search(sentence.section) else 0.0
        return summary + RELEVANCE_WEIGHT * len(shared) / (len(asked) or 1)

    def _stems(self, text: str) -> frozenset[str]:
        words = (word.lower() for word in _WORD.findall(text))
        return frozenset(word[:STEM_CHARS] for word in words if len(word) > 1 and word not in self.stopwords)


def has_summa() -> bool:
    """Whether it is installed; it is not loaded for that."""
    return find_spec("summa") is not None


def require_summa() -> None:
    """Raise MissingExtra now, not in the middle of a call, when `summa` is not installed."""
    _summa("summarizer")


def rank(text: str) -> Ranked:
    """Rank a text of any size and language; at most MAX_CHARS of it and MAX_SENTENCES are looked at."""
    return _rank(_sample(text))


@lru_cache(maxsize=64)
def _rank(text: str) -> Ranked:
    sentences = _thin(split(text))
    words = [_words(sentence.text) for sentence in sentences]
    with _LOCK:
        language, stopwords = _language(text)
        centrality = _centrality(words, language)
        order = sorted(range(len(words)), key=lambda index: (-centrality[index], index))
        keywords = _keywords([words[index] for index in order[:KEYWORD_SENTENCES]], language)
    return Ranked(
        title=title_of(text),
        sentences=tuple(sentences),
        centrality=tuple(centrality),
        keywords=keywords,
        stopwords=stopwords,
    )


def _sample(text: str) -> str:
    """The text itself, or equal parts of its start, middle and end."""
    if len(text) <= MAX_CHARS:
        return text
    part = MAX_CHARS // 3
    middle = (len(text) - part) // 2
    return "\n\n".join((text[:part], text[middle : middle + part], text[-part:]))


def _thin(sentences: list[Sentence]) -> list[Sentence]:
    """At most MAX_SENTENCES, evenly spread."""
    step = max(1.0, len(sentences) / MAX_SENTENCES)
    return [sentences[int(index * step)] for index in range(min(len(sentences), MAX_SENTENCES))]


def _centrality(sentences: Sequence[str], language: str) -> list[float]:
    """TextRank score of each sentence as a share of the highest; 0 for one without words of its own."""
    ranked = _summa("summarizer").summarize("\n".join(sentences), language=language, ratio=1.0, split=True, scores=True)
    scores = {sentence: float(score) for sentence, score in ranked}
    highest = max(scores.values(), default=0.0) or 1.0
    # Rounded, so that sums in another order (threads of a linear-algebra library) don't swap equal sentences.
    return [round(scores.get(sentence, 0.0) / highest, 9) for sentence in sentences]


def _keywords(sentences: Sequence[str], language: str) -> tuple[str, ...]:
    text = ". ".join(sentences)
    distinct = len(set(text.split())) or 1
    ratio = min(1.0, 2 * MAX_KEYWORDS / distinct)  # neighbours become one phrase, so ask for more
    found: list[str] = _summa("keywords").keywords(text, ratio=ratio, language=language, split=True)
    distinct_stems = {word[:STEM_CHARS]: word for word in reversed(found) if 1 < len(word) <= MAX_KEYWORD_CHARS}
    return tuple(word for word in dict.fromkeys(found) if word in distinct_stems.values())[:MAX_KEYWORDS]


def _language(text: str) -> tuple[str, frozenset[str]]:
    """(language, its stop words): of the languages with stop words, the one that has most of the text's words."""
    module = _summa("preprocessing.stopwords")
    stopwords = {name: frozenset(module.get_stopwords_by_language(name).split()) for name in module.LANGUAGES}
    words = [word.lower() for word in _WORD.findall(text[:MAX_CHARS])]
    hits = {name: sum(word in known for word in words) for name, known in stopwords.items()}
    language = max(hits, key=lambda name: (hits[name], name == "english"))
    return language, stopwords[language]


def _words(sentence: str) -> str:
    """The sentence as bare words on one line: to summa each line without punctuation is one sentence."""
    return " ".join(_WORD.findall(sentence))


def _summa(module: str) -> Any:
    try:
        with warnings.catch_warnings():
            # summa's regular expressions are plain strings with backslashes, which newer Pythons warn about.
            warnings.simplefilter("ignore")
            return import_module(f"summa.{module}")
    except ModuleNotFoundError as error:
        missing = error
    raise MissingExtra("crew", "summa") from missing
