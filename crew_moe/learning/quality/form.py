"""The form of a text, in numbers: lengths, counts of characters, and what kind of question it looks like.

Nothing here depends on the data that a model was trained on. The first of the numbers (TRAVELLING of them) are about
how long, dense and punctuated a text is: they mean the same in every domain, and are all that is used for a text that
is unlike everything a model has seen.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Reading = Callable[["_Text"], float]

_CAPITALISED: Final = re.compile(r"\b[A-Z]")
_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
_OPTION: Final = re.compile(r"(?m)^[ \t]*\(?[A-J][.)][ \t]*(.*)$")
_SENTENCE: Final = re.compile(r"[.!?](?:\s|$)")
_FUNCTION_WORDS: Final = frozenset({"the", "of", "and", "a", "to", "in", "is", "that", "for", "on", "with"})
_COMMONEST: Final = frozenset({"the", "of", "and", "a", "to", "in", "is"})
_ANY: Final[Mapping[str, frozenset[str]]] = {
    "says_best": frozenset({"most", "best", "primarily", "likely"}),
    "says_which": frozenset({"which"}),
    "says_what": frozenset({"what"}),
    "says_how": frozenset({"how"}),
    "says_why": frozenset({"why"}),
    "says_who": frozenset({"who"}),
    "says_when": frozenset({"when", "where"}),
    "says_if": frozenset({"if"}),
    "says_solve": frozenset({"calculate", "compute", "find", "determine", "evaluate", "solve"}),
    "says_total": frozenset({"total", "each", "per", "many", "much", "cost"}),
    "says_code": frozenset({"def", "return", "function", "class", "import", "assert"}),
    "says_they": frozenset({"he", "she", "his", "her", "him"}),
    "says_you": frozenset({"i", "you", "my", "your", "we"}),
    "says_following": frozenset({"following"}),
    "says_according": frozenset({"according"}),
    "says_true": frozenset({"true", "false"}),
    "says_statement": frozenset({"statement"}),
    "says_proof": frozenset({"prove", "theorem", "integer", "polynomial", "matrix", "prime", "group"}),
}
_NEGATIONS: Final = frozenset({"not", "except", "least", "incorrect", "false", "never", "no"})
_LONG_WORD: Final = 8
_MOST_NUMBERS: Final = 50  # looked at for the largest
_SHORT_WORD: Final = 4


class _Text:
    """What several readings share, read once."""

    __slots__ = (
        "chars",
        "counts",
        "largest",
        "lengths",
        "numbers",
        "options",
        "sentences",
        "stem",
        "text",
        "vocabulary",
        "words",
    )

    def __init__(self, text: str, tokens: Sequence[str]) -> None:
        self.text = text
        self.chars = len(text)
        octets = np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8)
        self.counts: list[int] = np.bincount(octets, minlength=256).tolist()
        self.words = [token for token in tokens if token.isalpha()]
        self.vocabulary = set(self.words)
        self.lengths = np.fromiter(map(len, self.words), np.float64, len(self.words)) if self.words else np.zeros(1)
        self.numbers = _NUMBER.findall(text) if any(self.counts[48:58]) else []
        self.largest = max([_value(number) for number in self.numbers[:_MOST_NUMBERS]], default=0.0)
        found = list(_OPTION.finditer(text))
        self.options = [match[1].strip() for match in found]
        self.stem = (text[: found[0].start()] if found else text).rstrip()
        self.sentences = len(_SENTENCE.findall(text))

    def count(self, characters: str) -> int:
        """How many of these ASCII characters there are."""
        counts = self.counts
        return sum([counts[ord(character)] for character in characters])

    def share(self, count: float) -> float:
        """Ten times the part of all characters that they are."""
        return 10.0 * count / max(1, self.chars)

    def has(self, words: frozenset[str]) -> float:
        return float(not words.isdisjoint(self.vocabulary))

    def part(self, count: float) -> float:
        """The part of all words that they are."""
        return count / max(1, len(self.words))


def _value(number: str) -> float:
    try:
        return float(number.replace(",", "")[:30])
    except ValueError:
        return 0.0


def _says(words: frozenset[str]) -> Reading:
    return lambda text: text.has(words)


_TRAVELLING: Final[Mapping[str, Reading]] = {
    "chars": lambda t: math.log1p(t.chars),
    "words": lambda t: math.log1p(len(t.words)),
    "stem": lambda t: math.log1p(len(t.stem)),
    "lines": lambda t: math.log1p(t.count("\n")),
    "digits": lambda t: t.share(sum(t.counts[48:58])),
    "numbers": lambda t: math.log1p(len(t.numbers)),
    "largest": lambda t: math.log1p(t.largest),
    "decimals": lambda t: float(any("." in number for number in t.numbers)),
    "capitals": lambda t: t.share(sum(t.counts[65:91])),
    "word_mean": lambda t: float(t.lengths.mean()),
    "word_deviation": lambda t: float(t.lengths.std()),
    "long_words": lambda t: float((t.lengths > _LONG_WORD).mean()),
    "short_words": lambda t: float((t.lengths < _SHORT_WORD).mean()),
    "variety": lambda t: t.part(len(t.vocabulary)),
    "questions": lambda t: math.log1p(t.count("?")),
    "sentences": lambda t: math.log1p(t.sentences),
    "sentence_words": lambda t: math.log1p(max(1, len(t.words)) / max(1, t.sentences)),
    "operators": lambda t: t.share(t.count("+-*/=<>^%")),
    "parentheses": lambda t: math.log1p(t.count("()")),
    "quotes": lambda t: math.log1p(t.count("\"'")),
    "commas": lambda t: math.log1p(t.count(",")),
    "colons": lambda t: math.log1p(t.count(";:")),
    "negations": lambda t: t.has(_NEGATIONS),
    "commonest": lambda t: len(_COMMONEST & t.vocabulary) / len(_COMMONEST),
    "function_words": lambda t: t.part(sum([word in _FUNCTION_WORDS for word in t.words])),
    "distinct_numbers": lambda t: math.log1p(len(set(t.numbers))),
    "capitalised": lambda t: math.log1p(len(_CAPITALISED.findall(t.text))),
}
_LOCAL: Final[Mapping[str, Reading]] = {
    "dollars": lambda t: math.log1p(t.count("$")),
    "backslashes": lambda t: math.log1p(t.count("\\")),
    "brackets": lambda t: math.log1p(t.count("{}[]")),
    "underscores": lambda t: math.log1p(t.count("_")),
    "foreign": lambda t: t.share(sum(t.counts[192:])),
    "options": lambda t: float(len(t.options)),
    "option_mean": lambda t: math.log1p(_mean(t.options)),
    "option_deviation": lambda t: math.log1p(float(np.std([len(one) for one in t.options])) if t.options else 0.0),
    "option_numbers": lambda t: float(bool(t.options) and all(_NUMBER.search(one) for one in t.options)),
    "option_all": lambda t: float(any("of the" in one.lower() for one in t.options)),
    "blank": lambda t: float("___" in t.text),
    "ends_question": lambda t: float(t.stem.endswith("?")),
    "ends_colon": lambda t: float(t.stem.endswith(":")),
    "paragraphs": lambda t: math.log1p(t.text.count("\n\n")),
    **{name: _says(words) for name, words in _ANY.items()},
}
NAMES: Final = (*_TRAVELLING, *_LOCAL)
TRAVELLING: Final = len(_TRAVELLING)
_READINGS: Final = (*_TRAVELLING.values(), *_LOCAL.values())


def form(text: str, tokens: Sequence[str]) -> Floats:
    """The numbers in the order of NAMES, (len(NAMES),); `tokens` are its words and marks in lower case. Linear in the
    text's length.
    """
    read = _Text(text, tokens)
    return np.array([reading(read) for reading in _READINGS])


def _mean(options: list[str]) -> float:
    return sum(map(len, options)) / len(options) if options else 0.0
