"""ROUGE: how much of a summary stands in the wanted one too (C. Lin, "ROUGE", 2004)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence


def rouge_1(found: str, wanted: str) -> float:
    """F1 over words, in any order; in [0, 1]."""
    a, b = _words(found), _words(wanted)
    return _f1((Counter(a) & Counter(b)).total(), len(a), len(b))


def rouge_l(found: str, wanted: str) -> float:
    """F1 over the longest run of words that both have in this order, gaps allowed; in [0, 1]."""
    a, b = _words(found), _words(wanted)
    return _f1(_longest_common(a, b), len(a), len(b))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _longest_common(a: Sequence[str], b: Sequence[str]) -> int:
    best = [0] * (len(b) + 1)
    for one in a:
        before = best
        best = [0]
        for place, other in enumerate(b):
            best.append(before[place] + 1 if one == other else max(best[-1], before[place + 1]))
    return best[-1]


def _f1(common: int, found: int, wanted: int) -> float:
    return 2 * common / (found + wanted) if common else 0.0
