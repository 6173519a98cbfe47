"""Long texts in parts that a model can take, and what it made of the parts as one again. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from crew_moe.local_gate.extractive.sentences import borders

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Measure = Callable[[str], int]
"""The length of a text in whatever the budget counts: tokens, bytes or words."""

LONGEST_SEAM: Final = 4_000  # characters; an overlap that made more than this is looked for in its end alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A part of a text, and the white space around it. `repeated` characters at its start stand in the chunk before."""

    text: str
    before: str = ""
    after: str = ""
    repeated: int = 0


class _Unit(NamedTuple):
    """A span of the text that is never cut, and its length."""

    start: int
    end: int
    size: int


def chunks(text: str, *, budget: int, measure: Measure, overlap: int = 0) -> tuple[Chunk, ...]:
    """The text in chunks of at most `budget`, cut after sentences; each begins with up to `overlap` of the one before.

    A sentence beyond the budget is cut between words, a word beyond it between characters. In order, and without what
    is repeated, the chunks and the white space around them are the text. A text that fits is one chunk. A budget that
    can't hold a single character holds one nevertheless.
    """
    if measure(text) <= budget:
        return (_chunk(text, 0, 0, len(text)),)
    units = [unit for start, end in _sentences(text) for unit in _fitting(text, start, end, budget, measure)]
    found: list[Chunk] = []
    first = 0
    while first < len(units):
        head = _head(units, first, min(overlap, budget - units[first].size))
        last = _last(units, head, first, budget)
        # A whole may have more tokens than its parts have together.
        while measure(text[units[head].start : units[last].end]) > budget and head < last:
            head, last = (head + 1, last) if head < first else (head, last - 1)
        found.append(_chunk(text, units[head].start, units[first].start, units[last].end))
        first = last + 1
    return tuple(found)


def joined(parts: Sequence[Chunk], made: Sequence[str]) -> str:
    """What was made of each chunk as one text; what the overlap made a second time stands once."""
    whole = ""
    for part, text in zip(parts, made, strict=True):
        seam = _seam(whole, text, at_least=part.repeated // 2) if part.repeated else 0
        whole += part.before + (text[seam:].lstrip() if seam else text) + part.after
    return whole


def averaged(rows: NDArray[np.float64], weights: Sequence[float]) -> NDArray[np.float64]:
    """The mean of the chunks' rows by the chunks' lengths: (chunks, n) -> (n,). Probabilities stay probabilities."""
    import numpy as np

    return np.average(rows, axis=0, weights=np.maximum(np.asarray(weights, dtype=np.float64), 1.0))


def _chunk(text: str, start: int, fresh: int, end: int) -> Chunk:
    """The chunk of a span, the first `fresh - start` characters of which were in the chunk before."""
    span = text[start:end]
    inner = span.strip()
    if not inner:
        return Chunk(text="", before=text[fresh:end])
    lead, trail = len(span) - len(span.lstrip()), len(span) - len(span.rstrip())
    if fresh > start:
        return Chunk(text=inner, after=span[len(span) - trail :], repeated=max(0, fresh - start - lead))
    return Chunk(text=inner, before=span[:lead], after=span[len(span) - trail :])


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    edges = [0, *borders(text), len(text)]
    yield from pairwise(edges)


def _fitting(text: str, start: int, end: int, budget: int, measure: Measure) -> Iterator[_Unit]:
    """The span whole if it fits, else halved, between words where that is possible, until every part does."""
    pending = [(start, end)]
    while pending:
        start, end = pending.pop()
        size = measure(text[start:end])
        if size <= budget or end - start == 1:
            yield _Unit(start, end, size)
            continue
        middle = _middle(text, start, end)
        pending += [(middle, end), (start, middle)]


def _middle(text: str, start: int, end: int) -> int:
    """Where to cut: after the white space nearest to the middle, else in the middle."""
    middle = (start + end) // 2
    for distance in range(min(middle - start, LONGEST_SEAM)):
        for at in (middle - distance, middle + distance):
            if start < at < end and text[at - 1].isspace() and not text[at].isspace():
                return at
    return middle


def _head(units: Sequence[_Unit], first: int, room: int) -> int:
    """The first of the units before `first` that fit into the overlap's room, side by side."""
    head = first
    while head > 0 and units[head - 1].size <= room:
        head -= 1
        room -= units[head].size
    return head


def _last(units: Sequence[_Unit], head: int, first: int, budget: int) -> int:
    """The last of the units that fit into the budget together, `first` at least."""
    room = budget - sum(unit.size for unit in units[head : first + 1])
    last = first
    while last + 1 < len(units) and units[last + 1].size <= room:
        last += 1
        room -= units[last].size
    return last


def _seam(whole: str, text: str, *, at_least: int) -> int:
    """How much of the start of `text` stands at the end of `whole` already; less than `at_least` is chance."""
    tail = whole.rstrip()[-LONGEST_SEAM:]
    for length in range(min(len(tail), len(text)), max(at_least, 1) - 1, -1):
        if tail.endswith(text[:length]):
            return length
    return 0
