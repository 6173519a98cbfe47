"""What learning knows of one request: predictions that strategies rank by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Insight:
    """What was predicted of each expert (by id) when a decision was made. The decision's row holds it whole, as exact
    floats, so that the choice can be made again from the row.

    `quality` is predicted quality in [0, 1] and `spread` its standard deviation, by the quality model whose version is
    `model` ("": there is none); not `familiar` is a text unlike those that the model learned from. `mean` and `width`
    are the predicted reward of each arm and its standard deviation, read off `vector`, the context that bandits learn
    on, (features,). `price` is what one US$ costs in reward while the budget of a horizon is short, `room_usd` what is
    left of that budget (None: there is none).
    """

    model: str = ""
    familiar: bool = True
    quality: Mapping[str, float] = field(default_factory=dict)
    spread: Mapping[str, float] = field(default_factory=dict)
    vector: tuple[float, ...] = ()
    mean: Mapping[str, float] = field(default_factory=dict)
    width: Mapping[str, float] = field(default_factory=dict)
    price: float = 0.0
    room_usd: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; what `insight_of` reads."""
        return {
            "model": self.model,
            "familiar": self.familiar,
            "quality": dict(self.quality),
            "spread": dict(self.spread),
            "vector": list(self.vector),
            "mean": dict(self.mean),
            "width": dict(self.width),
            "price": self.price,
            "room_usd": self.room_usd,
        }


def insight_of(row: Mapping[str, Any] | None) -> Insight | None:
    """The insight of a logged decision; None where nothing was predicted."""
    return None if row is None else Insight(**{**row, "vector": tuple(row["vector"])})
