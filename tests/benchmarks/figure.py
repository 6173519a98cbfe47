"""One measured number, and what it should be."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number. `at_most` / `at_least` are targets in the same unit; without one it is for reading only."""

    group: str
    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def ok(self) -> bool | None:
        """Whether the target is met; None when there is none."""
        if self.at_most is not None:
            return self.value <= self.at_most
        if self.at_least is not None:
            return self.value >= self.at_least
        return None

    @property
    def target(self) -> str:
        if self.at_most is not None:
            return f"<= {short(self.at_most)}"
        return f">= {short(self.at_least)}" if self.at_least is not None else ""

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ok": self.ok}


def short(value: float) -> str:
    """Three digits that matter; whole thousands with commas."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
