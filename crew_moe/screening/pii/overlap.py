"""One answer where findings overlap: the surest, then the longest."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

from crew_moe.domain.screening import PiiType, Span

_FORMLESS: Final = 0.4  # taken from a name's score: inside something that has a form, it is no finding of its own


def without_overlaps(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans that do not overlap, in the order of the text; of those that do, the surest, then the longest, stays."""
    kept: list[Span] = []
    group: list[Span] = []
    end = -1
    for span in sorted(spans, key=lambda span: (span.start, span.end)):
        if span.start >= end:
            kept += _chosen(group)
            group = []
        group.append(span)
        end = max(end, span.end)
    return (*kept, *_chosen(group))


def _chosen(group: list[Span]) -> list[Span]:
    """The spans of one chain of overlaps that stay."""
    if len(group) < 2:
        return group
    chosen: list[Span] = []
    for span in sorted(group, key=_rank):
        at = bisect_left(chosen, span.start, key=lambda other: other.start)
        if (at == 0 or chosen[at - 1].end <= span.start) and (at == len(chosen) or chosen[at].start >= span.end):
            chosen.insert(at, span)
    return chosen


def _rank(span: Span) -> tuple[float, int, int, str]:
    sure = span.score - _FORMLESS * (span.type == PiiType.PERSON.value)
    return -sure, span.start - span.end, span.start, span.type
