"""One number out of a page of Prometheus metrics."""

from __future__ import annotations

import math
import re


def gauge(page: str, name: str) -> int | None:
    r"""The sum of this metric's series, whatever their labels; None where there is none, or one that is no count.

    Text exposition format 0.0.4: `name{label="value"} number [milliseconds]`, one a line.

    >>> gauge('# TYPE waiting gauge\nwaiting{engine="0"} 2.0\nwaiting{engine="1"} 3.0\n', "waiting")
    5
    """
    found = [_number(line[len(name) :]) for line in page.split("\n") if line.startswith(name)]
    counts = [number for number in found if number is not None]
    if not counts or not all(math.isfinite(number) and number >= 0 for number in counts):
        return None
    total = sum(counts)
    return int(total) if math.isfinite(total) else None


_SAMPLE = re.compile(r"(?:\{.*\})?[ \t]+([^ \t{}]+)(?:[ \t]+-?[0-9]+)?[ \t\r]*")


def _number(rest: str) -> float | None:
    """The value in what follows the name; None where the name goes on, or no number is there."""
    sample = _SAMPLE.fullmatch(rest)
    try:
        return float(sample[1]) if sample else None
    except ValueError:
        return None
