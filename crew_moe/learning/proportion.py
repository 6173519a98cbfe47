"""A share of a count, with how sure one can be of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any, Final

Z: Final = 1.959963984540054  # 95 % of a normal distribution lie within so many standard deviations


@dataclass(frozen=True, slots=True, kw_only=True)
class Proportion:
    """`count` of `total`."""

    count: int
    total: int

    @property
    def share(self) -> float | None:
        """None of nothing."""
        return self.count / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 %, after Wilson (1927): right for few and for rare ones too."""
        if not self.total:
            return None
        n, share = self.total, self.count / self.total
        middle = share + Z * Z / (2 * n)
        half = Z * sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
        scale = 1 + Z * Z / n
        return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        interval = self.interval
        return {
            "count": self.count,
            "total": self.total,
            "share": self.share,
            "interval": None if interval is None else list(interval),
        }
