"""How well found spans match wanted ones: one to one, of the same type, overlapping by half of what both cover."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from crew_moe.domain.screening import PiiType, Span
from crew_moe.screening.measures import Tally, total

ENOUGH: Final = 0.5  # of the union
UNSCORED: Final = PiiType.OTHER.value  # organisations, dates, cities: finding them is neither right nor wrong
FORMLESS: Final = (PiiType.PERSON.value, PiiType.ADDRESS.value)
STRUCTURED: Final = tuple(kind.value for kind in PiiType if kind.value not in (*FORMLESS, UNSCORED))


def overlap(one: Span, other: Span) -> int:
    """How many characters both cover."""
    return max(0, min(one.end, other.end) - max(one.start, other.start))


def intersection_over_union(one: Span, other: Span) -> float:
    """In [0, 1]; 1 for equal spans.

    >>> intersection_over_union(Span(start=0, end=4, type="IP"), Span(start=2, end=6, type="IP"))
    0.3333333333333333
    """
    shared = overlap(one, other)
    return shared / (max(one.end, other.end) - min(one.start, other.start)) if shared else 0.0


def matched(wanted: Sequence[Span], found: Sequence[Span]) -> list[tuple[int, int]]:
    """Pairs of positions, the best overlap first; each span belongs to one pair at most."""
    pairs = sorted(
        (
            (intersection_over_union(gold, span), i, j)
            for i, gold in enumerate(wanted)
            for j, span in enumerate(found)
            if gold.type == span.type
        ),
        reverse=True,
    )
    taken: list[tuple[int, int]] = []
    for share, i, j in pairs:
        if share >= ENOUGH and all(i != one and j != other for one, other in taken):
            taken.append((i, j))
    return taken


def tallies(wanted: Sequence[Span], found: Sequence[Span]) -> dict[str, Tally]:
    """Hits, false alarms and misses of one text, by type. A name or address on an unscored span is no error."""
    unscored = [span for span in wanted if span.type == UNSCORED]
    gold = [span for span in wanted if span.type != UNSCORED]
    given = [span for span in found if span.type != UNSCORED and span.end > span.start]
    pairs = matched(gold, given)
    hits, used = {i for i, _ in pairs}, {j for _, j in pairs}
    told: dict[str, Tally] = {}
    for i, span in enumerate(gold):
        _count(told, span, Tally(hits=1) if i in hits else Tally(missed=1))
    for j, span in enumerate(given):
        if j not in used and not _excused(span, unscored):
            _count(told, span, Tally(false=1))
    return told


def span_figures(texts: Iterable[tuple[Sequence[Span], Sequence[Span]]]) -> dict[str, Any]:
    """JSON-ready measures over (wanted, found) of many texts."""
    by_type: dict[str, Tally] = {}
    holding = flagged = clean = alarmed = count = 0
    for wanted, found in texts:
        count += 1
        for name, tally in tallies(wanted, found).items():
            by_type[name] = by_type.get(name, Tally()) + tally
        some = any(span.type != UNSCORED for span in wanted)
        holding, flagged = holding + some, flagged + (some and bool(found))
        clean, alarmed = clean + (not wanted), alarmed + (not wanted and _structured(found))
    return {
        "n": count,
        "span_all": total(by_type, (*STRUCTURED, *FORMLESS)).figures(),
        "span_structured": total(by_type, STRUCTURED).figures(),
        "span_person_address": total(by_type, FORMLESS).figures(),
        "by_type": {name: by_type[name].figures() for name in sorted(by_type)},
        "doc_recall_any_pii": flagged / holding if holding else None,
        "doc_fpr_structured_on_span_free": alarmed / clean if clean else None,
    }


def _count(told: dict[str, Tally], span: Span, tally: Tally) -> None:
    told[span.type] = told.get(span.type, Tally()) + tally


def _excused(span: Span, unscored: Sequence[Span]) -> bool:
    return span.type in FORMLESS and any(2 * overlap(span, other) >= span.end - span.start for other in unscored)


def _structured(found: Sequence[Span]) -> bool:
    return any(span.type in STRUCTURED for span in found)
