"""Placeholders in place of personal data, and the way back.

A `Vault` gives every value a placeholder of its own, and the same value the same one for as long as the vault lives.
A text that already says `[EMAIL_1]`, or anything that would be read as such, is not confused with what the vault gave
out: those words become values of the vault themselves and come back as they were.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

from crew_moe.domain.screening import PiiType, Span
from crew_moe.screening.messages import Message, rewritten, spoken_name
from crew_moe.screening.placeholders import LONGEST, PATTERN, UNFINISHED, canonical, placeholder

_KINDS: Final = frozenset(kind.value for kind in PiiType)


def in_json(value: str) -> str:
    """A value as it stands between the quotes of a JSON string."""
    return json.dumps(value, ensure_ascii=False)[1:-1]


def as_is(value: str) -> str:
    return value


class Vault:
    """Values and their placeholders, for one conversation or task; safe for threads. Its repr tells none of them.

    >>> vault = Vault()
    >>> vault.redact("Mail ann@x.org!", [Span(start=5, end=14, type="EMAIL")])
    'Mail [EMAIL_1]!'
    >>> vault.restore("I wrote to [email 1].")
    'I wrote to ann@x.org.'
    """

    __slots__ = ("_counts", "_lock", "_placeholders", "_values")

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: dict[str, int] = {}
        self._placeholders: dict[tuple[str, str], str] = {}
        self._values: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Vault({len(self)} values)"

    def placeholder(self, kind: str, value: str) -> str:
        """The placeholder of a value: the one it has, or the next of its kind."""
        kind = kind if kind in _KINDS else PiiType.OTHER.value
        with self._lock:
            known = self._placeholders.get((kind, value))
            if known is None:
                self._counts[kind] = self._counts.get(kind, 0) + 1
                known = self._placeholders[kind, value] = placeholder(kind, self._counts[kind])
                self._values[known] = value
            return known

    def redact(self, text: str, spans: Iterable[Span], *, from_expert: bool = False) -> str:
        """The text with a placeholder for each span; overlapping spans become one.

        `from_expert`: placeholders in the text that this vault gave out are its own and stay.
        """
        pieces, position = [], 0
        for span in disjoint(spans, len(text)):
            pieces += [text[position : span.start], self.placeholder(span.type, text[span.start : span.end])]
            position = span.end
        pieces.append(text[position:])
        return self._without_lookalikes(pieces, from_expert=from_expert)

    def _without_lookalikes(self, pieces: Sequence[str], *, from_expert: bool) -> str:
        """Pieces joined; every second one is a placeholder, and what else would be read as one becomes a value."""
        joined, ours, offset = "".join(pieces), set(), 0
        for nth, piece in enumerate(pieces):
            if nth % 2:
                ours.add(offset)
            offset += len(piece)
        out, position = [], 0
        for found in PATTERN.finditer(joined):
            if found.start() in ours or (from_expert and canonical(found[0]) in self._values):
                continue
            out += [joined[position : found.start()], self.placeholder(PiiType.OTHER.value, found[0])]
            position = found.end()
        return "".join(out) + joined[position:]

    def restore(self, text: str, *, escape: Callable[[str], str] = as_is) -> str:
        """The text with every placeholder that this vault gave out replaced by its value; others stay.

        `escape=in_json` for text that is JSON, as the arguments of tool calls are.
        """
        if not self._values:
            return text
        return PATTERN.sub(lambda found: self._value(found[0], escape), text)

    def _value(self, found: str, escape: Callable[[str], str]) -> str:
        value = self._values.get(canonical(found))
        return found if value is None else escape(value)

    def restorer(self, *, escape: Callable[[str], str] = as_is) -> Restorer:
        return Restorer(self, escape=escape)


class Restorer:
    """Restores a text that comes in chunks; what it gives out is, put together, `vault.restore` of the whole.

    It holds back only what may still become a placeholder: never more than a few dozen characters.
    """

    __slots__ = ("_escape", "_held", "_vault")

    def __init__(self, vault: Vault, *, escape: Callable[[str], str] = as_is) -> None:
        self._vault = vault
        self._escape = escape
        self._held = ""

    def __repr__(self) -> str:
        return f"Restorer({len(self._held)} characters held)"

    def feed(self, chunk: str) -> str:
        """What can be given out now."""
        text = self._held + chunk
        unfinished = UNFINISHED.search(text, max(0, len(text) - LONGEST))
        cut = len(text) if unfinished is None else unfinished.start()
        self._held = text[cut:]
        return self._vault.restore(text[:cut], escape=self._escape)

    def finish(self) -> str:
        """What was still held back; the stream is over."""
        held, self._held = self._held, ""
        return self._vault.restore(held, escape=self._escape)


def disjoint(spans: Iterable[Span], length: int) -> list[Span]:
    """Spans in the order of the text, cut to it, overlapping ones united under the kind with the highest score."""
    united: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        start, end = max(0, span.start), min(length, span.end)
        if start >= end:
            continue
        if united and start < united[-1].end:
            before = united.pop()
            surest = max(before, span, key=lambda one: one.score)
            start, end = before.start, max(before.end, end)
            united.append(Span(start=start, end=end, type=surest.type, score=surest.score))
        else:
            united.append(Span(start=start, end=end, type=span.type, score=span.score))
    return united


@dataclass(frozen=True, slots=True, kw_only=True)
class _Redaction:
    """Rewrites the texts of one message."""

    vault: Vault
    spans_of: Callable[[str], Iterable[Span]]
    from_expert: bool

    def text(self, text: str) -> str:
        return self.vault.redact(text, self.spans_of(text), from_expert=self.from_expert) if text else text

    def name(self, name: str) -> str:
        """A name that tells who somebody is becomes its placeholder without brackets, which a name may not have."""
        spans = list(self.spans_of(spoken_name(name)))
        return self.vault.placeholder(spans[0].type, name).strip("[]") if spans else name


def redact_messages(
    messages: Iterable[Message], vault: Vault, spans_of: Callable[[str], Iterable[Span]]
) -> list[dict[str, Any]]:
    """Copies of chat messages with placeholders for what `spans_of` finds in each of their texts.

    Strings and parts, tool outputs, the arguments of tool calls and participants' names are covered; images are not
    touched. An assistant's message may hold placeholders that the vault gave out: they stay.
    """
    return [
        rewritten(message, _Redaction(vault=vault, spans_of=spans_of, from_expert=message.get("role") == "assistant"))
        for message in messages
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Restoration:
    vault: Vault

    def text(self, text: str) -> str:
        return self.vault.restore(text)

    def name(self, name: str) -> str:
        return name


def restore_message(message: Message, vault: Vault) -> dict[str, Any]:
    """A copy of an expert's message with the values back in its text and in the arguments of its tool calls."""
    return rewritten(message, _Restoration(vault=vault))
