"""Cuts a text (Markdown, prose, code, any language) into numbered sentences, each with the section it stands in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

MAX_SENTENCE_CHARS: Final = 400
MAX_ABBREVIATION: Final = 12

_MARKER: Final = re.compile(r"^\s*(?:[-*+•>]\s+|\d{1,3}[.)]\s+|\[[ x]\]\s+)+")
_HEADING: Final = re.compile(r"^\s{0,3}(#{1,6})\s+(\S[^\n]*)$")
_RULE: Final = re.compile(r"^[\s|:=*_+-]*$")
_REACT: Final = re.compile(r"\b(?:Thought|Action|Action Input|Observation|Final Answer):[ \t]*")
_LABEL: Final = re.compile(r"^(?:keywords|[^.!?]{0,80}:$)", re.IGNORECASE)
_EMPHASIS: Final = re.compile(r"\*\*|__|`")
_CITATION: Final = re.compile(r"\s*\((?:[^()]{1,80}, )?sentence \d+\)$")
_END: Final = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"')\]]))\s+(?![a-z])|(?<=[。！？])")
_BORDER: Final = re.compile(rf"\n\s*|{_END.pattern}")
_REMARK: Final = re.compile(r"[A-Z]\w{2,15}: ")
_ABBREVIATION: Final = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|Dr|Mr|Mrs|Ms|No|Nr|Fig|St|Prof|bzw|z\.B)|\b[A-Z])\.$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One sentence: `number` counts from 1 through the text, `section` is the nearest heading above it, or ""."""

    text: str
    number: int
    section: str

    @property
    def cited(self) -> str:
        place = f"{self.section}, " if self.section else ""
        return f"{self.text} ({place}sentence {self.number})"


def title_of(text: str) -> str:
    """The first heading of the text, or ""."""
    headings = (_HEADING.match(line) for line in text.splitlines())
    return next((_plain(found[2]) for found in headings if found), "")


def split(text: str) -> list[Sentence]:
    """All sentences in order, each once. Headings, labels ending in a colon, rules and table borders are none."""
    seen: set[str] = set()
    sentences: list[Sentence] = []
    for section, paragraph in _paragraphs(text):
        for piece in _pieces(paragraph):
            key = piece.casefold()
            if key not in seen:
                seen.add(key)
                sentences.append(Sentence(text=piece, number=len(sentences) + 1, section=section))
    return sentences


def borders(text: str) -> list[int]:
    """Where a sentence, line or paragraph ends and the next begins, white space counted with the end: offsets between 0
    and the text's length, in order. The spans between them are the whole text; nothing is left out, as by `split`.
    """
    return [
        found.end()
        for found in _BORDER.finditer(text)
        if found.end() < len(text)
        and not _ABBREVIATION.search(text, max(0, found.start() - MAX_ABBREVIATION), found.start())
    ]


def _paragraphs(text: str) -> Iterator[tuple[str, str]]:
    """(section, text) of each paragraph, list item, table row and line of code."""
    section, lines, fenced = "", list[str](), False
    for line in [*text.splitlines(), ""]:
        heading = None if fenced else _HEADING.match(line)
        fence = line.lstrip().startswith("```")
        alone = fenced or fence or heading is not None or _RULE.match(line) or line.lstrip()[:1] in ("|", "{", "}")
        if lines and (alone or _MARKER.match(line)):
            yield section, " ".join(lines)
            lines = []
        if heading is not None:
            section = _plain(heading[2])
        elif fence:
            fenced = not fenced
        elif alone:
            yield from ((section, text) for text in _values(line))
        else:
            lines.append(line)


def _values(line: str) -> list[str]:
    """The texts inside a line of JSON, which is how an agent hands structured output on; else the line itself."""
    if line.lstrip()[:1] != "{":
        return [line]
    try:
        pending: list[Any] = [json.loads(line)]
    except ValueError:
        return [line]
    found: list[str] = []
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, dict | list):
            pending.extend(reversed(value if isinstance(value, list) else list(value.values())))
    return found


def _pieces(paragraph: str) -> Iterator[str]:
    """The sentences of one paragraph. A dot after an abbreviation ends none; a remark ("Owner: ...") joins its own."""
    pending = ""
    for piece in _END.split(_plain(paragraph)):
        if pending and not _ABBREVIATION.search(pending) and not _REMARK.match(piece):
            yield from _kept(pending)
            pending = ""
        pending = f"{pending} {piece}" if pending else piece
    yield from _kept(pending)


def _kept(piece: str) -> Iterator[str]:
    piece = _CITATION.sub("", piece).strip()
    if any(char.isalnum() for char in piece) and not _LABEL.match(piece):
        yield piece if len(piece) <= MAX_SENTENCE_CHARS else piece[: MAX_SENTENCE_CHARS - 1].rstrip() + "…"


def _plain(text: str) -> str:
    """Without Markdown's marks and without the words that steer an agent's parser."""
    if text.lstrip().startswith("|"):
        text = ", ".join(cell.strip() for cell in text.strip().strip("|").split("|"))
    return " ".join(_EMPHASIS.sub("", _REACT.sub("", _MARKER.sub("", text))).split())
