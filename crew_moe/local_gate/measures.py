"""The measures of a text, by name, in their own units.

Characters, bytes and lines are exact. Everything else is read in a text of at most SEEN characters, or in as many of
its beginning, middle and end, and counts are scaled up to the whole: the cost is linear in the length up to SEEN, and
nearly flat beyond it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np

from crew_moe.local_gate.characters import Kind, census

SEEN: Final = 12_000  # characters; of a longer text three pieces, a third of it each
HEAD: Final = 1_200  # characters: what is asked for stands in front, and so short a text repeats few words of need
BYTES_PER_TOKEN: Final = 4.0  # what byte pair encodings make of English prose

# Lengths and counts, which go by their logarithm.
LENGTHS: Final = (
    "chars", "bytes", "tokens_estimate", "words", "sentences", "lines", "paragraphs",
    "mean_sentence_words", "max_sentence_words", "sentence_words_spread", "mean_word_chars", "max_word_chars",
    "mean_line_chars", "code_fences", "code_marks", "calls", "list_items", "headings", "table_rows", "questions",
    "quotes",
)  # fmt: skip
# Between 0 and 1.
SHARES: Final = (
    "vocabulary_diversity", "special_ratio", "digit_ratio", "upper_ratio", "whitespace_ratio", "non_ascii_ratio",
    "wide_ratio", "control_ratio", "bracket_ratio", "operator_ratio", "slash_ratio", "prose_mark_ratio",
    "indented_line_ratio", "code_word_ratio", "plain_word_ratio", "upper_word_ratio", "first_paragraph_ratio",
    "ends_with_question",
)  # fmt: skip
MEASURES: Final = LENGTHS + SHARES

_SENTENCE_END: Final = re.compile(r"[.!?\n。！？](?:[\"')\]]*\s|(?<=[。！？]))")  # a set in front is searched fast
_PARAGRAPH_END: Final = re.compile(r"\n[ \t\r]*\n")
_MARKS: Final = ("->", "=>", "==", "!=", "::", "&&", "+=", "();", "</", "${", "\\")
_CODE_WORDS: Final = frozenset((
    "def", "class", "return", "import", "const", "let", "var", "function", "func", "fn", "void", "int", "str", "self",
    "null", "None", "true", "false", "elif", "else:", "try:", "except", "struct", "enum", "public", "private", "static",
    "async", "await", "lambda", "println", "#include", "echo", "sudo", "git", "pip", "npm", "{", "}", "};", "},", ");",
    "=", "==", "!=", "=>", "->", ":=", "+=", "&&", "||", "//", "/*", "*/", "{}", "[]", "()",
))  # fmt: skip
_LIST_MARKS: Final = frozenset("-*+\u2022")


def measures(text: str) -> dict[str, float]:
    """All of MEASURES; any str will do, with NULs and lone surrogates."""
    seen = _seen(text)
    scale = max(1.0, len(text) / max(1, len(seen)))
    words, head = seen.split(), head_words(text)
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return {
        "chars": len(text),
        "bytes": size,
        "tokens_estimate": size / BYTES_PER_TOKEN,
        **_sentences(seen, scale),
        **_lines(text, seen, scale),
        **_words(words, scale),
        **_characters(seen, scale, len(words)),
        "vocabulary_diversity": len(set(head)) / max(1, len(head)),
        "code_fences": seen.count("```") / 2 * scale,
        "code_marks": sum(map(seen.count, _MARKS)) * scale,
        "calls": (seen.count("(") - seen.count(" (")) * scale,
        "questions": (seen.count("?") + seen.count("\uff1f")) * scale,
        "ends_with_question": float(seen[-20:].rstrip(" \t\r\n\"')").endswith(("?", "\uff1f"))),
    }


def head_words(text: str) -> list[str]:
    """What stands between blanks at the beginning of a text, in lower case."""
    return text[:HEAD].lower().split()


def _seen(text: str) -> str:
    """The whole of a text, or its beginning, middle and end."""
    if len(text) <= SEEN:
        return text
    part, middle = SEEN // 3, len(text) // 2
    return text[:part] + text[middle - part // 2 : middle + part // 2] + text[-part:]


def _sentences(seen: str, scale: float) -> dict[str, float]:
    """A blank between words is one word more: near enough, and a tenth of the cost of splitting each sentence."""
    sizes = [piece.count(" ") + 1 for piece in _SENTENCE_END.split(seen) if piece]
    counts = np.array(sizes or [0], dtype=np.float64)
    return {
        "sentences": len(sizes) * scale,
        "mean_sentence_words": float(counts.mean()),
        "max_sentence_words": float(counts.max()),
        "sentence_words_spread": float(counts.std()),
    }


def _lines(text: str, seen: str, scale: float) -> dict[str, float]:
    lines = seen.split("\n")
    starts = [line.lstrip()[:4] for line in lines]
    items = sum((start[:1] in _LIST_MARKS and start[1:2] == " ") or _is_numbered(start) for start in starts)
    ends = [found.start() for found in _PARAGRAPH_END.finditer(seen)]
    count = text.count("\n") + 1
    first = ends[0] if ends else len(seen)
    return {
        "lines": count,
        "mean_line_chars": len(text) / count,
        "paragraphs": (len(ends) + 1) * scale,
        "list_items": items * scale,
        "headings": sum(start[:1] == "#" and start.strip("#")[:1] in " " for start in starts) * scale,
        "table_rows": sum(start[:1] == "|" for start in starts) * scale,
        "indented_line_ratio": sum(line[:2] in ("  ", "\t") or line[:1] == "\t" for line in lines) / len(lines),
        "first_paragraph_ratio": first * (scale if first > SEEN // 3 else 1.0) / max(1, len(text)),
    }


def _is_numbered(start: str) -> bool:
    """`1. `, `12) `"""
    number = start.partition(" ")[0]
    return number[:-1].isdecimal() and number[-1] in ".)"


def _words(words: Sequence[str], scale: float) -> dict[str, float]:
    count = max(1, len(words))
    return {
        "words": len(words) * scale,
        "max_word_chars": max(map(len, words), default=0),
        "code_word_ratio": sum(map(_CODE_WORDS.__contains__, words)) / count,
        "plain_word_ratio": sum(map(str.isalpha, words)) / count,
        "upper_word_ratio": sum(map(str.isupper, words)) / count,
    }


def _characters(seen: str, scale: float, words: int) -> dict[str, float]:
    kinds, foreign, wide = census(seen)
    size = max(1, len(seen))
    of = (kinds / size).tolist()
    return {
        "mean_word_chars": (size - float(kinds[Kind.SPACE])) / max(1, words),
        "quotes": float(kinds[Kind.QUOTE]) * scale,
        "special_ratio": of[Kind.BRACKET] + of[Kind.OPERATOR] + of[Kind.SLASH] + of[Kind.OTHER],
        "digit_ratio": of[Kind.DIGIT],
        "upper_ratio": of[Kind.UPPER],
        "whitespace_ratio": of[Kind.SPACE],
        "control_ratio": of[Kind.CONTROL],
        "bracket_ratio": of[Kind.BRACKET],
        "operator_ratio": of[Kind.OPERATOR],
        "slash_ratio": of[Kind.SLASH],
        "prose_mark_ratio": of[Kind.PROSE_MARK],
        "non_ascii_ratio": foreign / size,
        "wide_ratio": wide / size,
    }
