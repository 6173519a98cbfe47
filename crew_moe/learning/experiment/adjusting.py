"""Many questions asked of one experiment."""

from __future__ import annotations

from collections.abc import Sequence


def adjusted(p_values: Sequence[float]) -> list[float]:
    """Each p-value as Benjamini and Hochberg (1995) adjust it: those at or below a level are a list in which no more
    than this share is expected to be chance.

    >>> adjusted([0.01, 0.04, 0.03, 0.5])
    [0.04, 0.05333333333333334, 0.05333333333333334, 0.5]
    """
    count, least = len(p_values), 1.0
    found = [1.0] * count
    for rank, index in sorted(enumerate(sorted(range(count), key=p_values.__getitem__), 1), reverse=True):
        least = min(least, p_values[index] * count / rank)
        found[index] = least
    return found
