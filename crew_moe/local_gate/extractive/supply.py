"""What a text offers to fill the fields of a schema with, by a field's name and format."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import Final

MAX_CHARS: Final = 2_000
"""How far into the text fields are looked for, and the longest text that a field is filled with."""

MAX_TITLE_CHARS: Final = 60

_FORMS: Final = {
    "path": re.compile(r"(?<![\w/.:])(?:~?/|\.{1,2}/)?(?:[\w.-]+/)*[\w-][\w.-]*\.[A-Za-z]\w{0,7}\b(?![/:]/)"),
    "uri": re.compile(r"https?://[^\s\"'<>)\]]+"),
    "email": re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"),
    "date": re.compile(r"\b\d{4}-\d{2}-\d{2}\b"),
    "date-time": re.compile(r"\b\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2})?(?:Z|[+-]\d{2}:\d{2})"),
}
_QUOTED: Final = re.compile(r"[\"“]([^\"”\n]{1,200})[\"”]")
_NUMBER: Final = re.compile(r"(?<![\w.,:-])-?\d+(?:\.\d+)?(?![\w:%])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """The asker's words, the text, and what was extracted from it: title, summary, best sentences, keywords."""

    request: str
    text: str
    title: str
    summary: str
    sentences: Sequence[str]
    keywords: Sequence[str]

    def string(self, name: str, form: str = "", description: str = "") -> str | None:
        """A text for the field `name`: by its format, what its description lists, its name, or beside its name."""
        if form in _FORMS:
            return self._found(_FORMS[form])
        options = _listed(name, description)
        if options:
            return self.named(options) or options[0]
        for pattern, find in _BY_NAME:
            if pattern.search(name.lower()):
                return find(self)
        return self._beside(name, r"([^\n.,;]{1,200})")

    def quoted(self) -> str | None:
        """The first text that the asker put in quotation marks."""
        found = _QUOTED.search(self.request)
        return found[1] if found else None

    def number(self, name: str) -> float | None:
        """A number that stands beside the field's name, in the request or in the text."""
        found = self._beside(name, r"(-?\d+(?:\.\d+)?)")
        return float(found) if found else None

    def asked_number(self) -> float | None:
        """The first number of the request."""
        found = _NUMBER.search(self.request)
        return float(found[0]) if found else None

    def named(self, allowed: Sequence[str]) -> str | None:
        """The allowed word that the request names first, else the text."""
        for text in (self.request.lower(), self.text[:MAX_CHARS].lower()):
            places = [(text.find(word.lower()), word) for word in allowed if word and word.lower() in text]
            if places:
                return min(places)[1]
        return None

    def parts(self, name: str) -> list[Supply]:
        """One supply for each item of a list called `name`: its keywords, or its best sentences."""
        if re.search(r"keyword|tag|topic|entit|categor", name.lower()):
            return [replace(self, request="", title=word, summary=word, keywords=(word,)) for word in self.keywords]
        if re.search(r"quer|question", name.lower()):
            return [replace(self, summary=query) for query in [_query(self)] if query]
        return [
            replace(self, request="", text=sentence, title=_short(sentence), summary=sentence, sentences=(sentence,))
            for sentence in self.sentences
        ]

    def _found(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.search(self.request) or pattern.search(self.text[:MAX_CHARS])
        return found[0].rstrip(".,;") if found else None

    def _beside(self, name: str, value: str) -> str | None:
        if not name:
            return None
        words = re.escape(name).replace("_", r"[\s_-]+")
        pattern = re.compile(rf"\b{words}\s*(?:is|of|[:=])\s*{value}", re.IGNORECASE)
        found = pattern.search(self.request) or pattern.search(self.text[:MAX_CHARS])
        return found[1].strip(" \"'`") or None if found else None


def _listed(name: str, description: str) -> list[str]:
    """The values that a description lists for a field: "one of the following coworkers: Auditor, Writer"."""
    found = re.search(rf"\b{re.escape(name)}s?:\s*([^\n]+)", description) if name else None
    return [word for part in found[1].split(",") if (word := part.strip(" '\"[]."))] if found else []


def _short(sentence: str) -> str:
    return shorten(sentence, MAX_TITLE_CHARS, placeholder="…")


def _query(supply: Supply) -> str | None:
    return supply.quoted() or " ".join(supply.keywords[:3]) or supply.request[:MAX_CHARS] or None


def _form(name: str) -> Callable[[Supply], str | None]:
    return lambda supply: supply._found(_FORMS[name])


# A text field is filled by the first row whose pattern is found in its name.
_BY_NAME: Final[tuple[tuple[re.Pattern[str], Callable[[Supply], str | None]], ...]] = (
    (re.compile(r"path|file|folder|directory"), _form("path")),
    (re.compile(r"url|uri|link|website"), _form("uri")),
    (re.compile(r"e?mail"), _form("email")),
    (re.compile(r"date|_day$"), _form("date")),
    (re.compile(r"quer|search|keyword|topic|tag"), _query),
    (re.compile(r"title|headline|subject"), lambda supply: supply.title or _query(supply)),
    (re.compile(r"task|question|instruction|request|prompt"), lambda supply: supply.request[:MAX_CHARS] or None),
    (
        re.compile(r"text|content|context|document|input|body|passage|source"),
        lambda supply: supply.text[:MAX_CHARS] or None,
    ),
)
