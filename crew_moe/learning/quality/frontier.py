"""How well predicted quality routes: what quality a router reaches at every cost, and how that compares.

A router that takes, of each text, the expert with the highest predicted quality less w times its cost, gives one point
(mean cost, mean quality) for each w. Routers may be mixed, so that what can be reached is the upper hull of the points
(RouterBench's non-decreasing convex hull). AIQ is the mean quality over costs from that of the cheapest expert to that
of the best single one, over cost or over its logarithm; gap closed is the part of the way from mixtures of single
experts (0) to an oracle that knows every outcome (1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WEIGHTS: Final = np.concatenate([[0.0], np.geomspace(1e-3, 1e3, 121)])
LINEAR_STEPS: Final = 4001
LOG_STEPS: Final = 2001
COST_SHARES: Final = (0.05, 0.1, 0.25, 0.5)
QUALITY_SHARES: Final = (0.9, 0.95, 0.98, 1.0)
_EXACT: Final = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Frontier:
    """The corners of an upper hull, in order of cost; both (corners,)."""

    cost: Floats
    quality: Floats

    @classmethod
    def of(cls, cost: Floats, quality: Floats) -> Frontier:
        """The hull of points; what costs more without being better is left out."""
        corners: list[tuple[float, float]] = []
        best = -np.inf
        for place in np.lexsort((-quality, cost)):
            x, y = float(cost[place]), float(quality[place])
            if y <= best:
                continue
            best = y
            while len(corners) >= 2 and _under(corners[-2], corners[-1], (x, y)):
                corners.pop()
            if corners and corners[-1][0] == x:
                corners.pop()
            corners.append((x, y))
        return cls(np.array([x for x, _ in corners]), np.array([y for _, y in corners]))

    def at(self, cost: Floats | float) -> Any:
        """The quality that is reached at a cost."""
        return np.interp(cost, self.cost, self.quality)

    def cost_of(self, quality: float) -> float | None:
        """The least cost of a quality; None where it is never reached."""
        if self.quality[-1] < quality - _EXACT:
            return None
        return float(self.cost[0] if self.quality[0] >= quality else np.interp(quality, self.quality, self.cost))

    def mean(self, low: float, high: float, *, log: bool = False) -> float:
        """AIQ: the mean quality between two costs."""
        if high <= low:
            return float(self.at(low))
        costs = np.geomspace(low, high, LOG_STEPS) if log else np.linspace(low, high, LINEAR_STEPS)
        axis = np.log(costs) if log else costs
        width = np.log(high) - np.log(low) if log else high - low
        return float(np.trapezoid(self.at(costs), axis) / width)


def _under(left: tuple[float, float], middle: tuple[float, float], right: tuple[float, float]) -> bool:
    """Whether the middle point is not above the line between the others."""
    rise, run = middle[1] - left[1], middle[0] - left[0]
    return rise * (right[0] - left[0]) <= (right[1] - left[1]) * run


def routed(predicted: Floats, predicted_cost: Floats, quality: Floats, cost: Floats) -> tuple[Floats, Floats]:
    """Mean cost and mean quality at each of WEIGHTS; the weights are per mean cost of the dearest expert."""
    unit = predicted_cost.mean(axis=0).max() or 1.0
    rows = np.arange(len(predicted))
    chosen = [np.argmax(predicted - weight * predicted_cost / unit, axis=1) for weight in WEIGHTS]
    costs = np.array([cost[rows, choice].mean() for choice in chosen])
    return costs, np.array([quality[rows, choice].mean() for choice in chosen])


def figures(
    experts: tuple[str, ...], predicted: Floats, predicted_cost: Floats, quality: Floats, cost: Floats
) -> dict[str, Any]:
    """All figures, JSON-ready. All arrays are (rows, experts), costs in US$."""
    mean_quality, mean_cost = quality.mean(axis=0), cost.mean(axis=0)
    best, cheapest = int(mean_quality.argmax()), int(mean_cost.argmin())
    low, high = float(mean_cost[cheapest]), float(mean_cost[best])
    rows = np.arange(len(quality))
    single = Frontier.of(mean_cost, mean_quality)
    router = _with(cheapest, mean_cost, mean_quality, *routed(predicted, predicted_cost, quality, cost))
    top = quality.max(axis=1)
    top_cost = np.where(quality >= top[:, None] - _EXACT, cost, np.inf).min(axis=1).mean()
    known_costs, known_quality = routed(quality, cost, quality, cost)
    oracle = _with(
        cheapest, mean_cost, mean_quality, np.append(known_costs, top_cost), np.append(known_quality, top.mean())
    )
    free = float(quality[rows, predicted.argmax(axis=1)].mean())
    told: dict[str, Any] = {
        "best_single": experts[best],
        "best_single_quality": float(mean_quality[best]),
        "best_single_cost": high,
        "cheapest_single": experts[cheapest],
        "cheapest_single_quality": float(mean_quality[cheapest]),
        "cheapest_single_cost": low,
        "oracle_quality": float(top.mean()),
        "quality_at_zero_cost_weight": free,
    }
    for name, frontier in (("router", router), ("single", single), ("oracle", oracle)):
        told[name] = _of(frontier, low, high, float(mean_quality[best]))
    for kind in ("aiq", "aiq_log"):
        span = told["oracle"][kind] - told["single"][kind]
        told[f"{kind}_gap_closed"] = (told["router"][kind] - told["single"][kind]) / span if span else 0.0
    return told


def _with(place: int, mean_cost: Floats, mean_quality: Floats, costs: Floats, qualities: Floats) -> Frontier:
    """The frontier of points, with a single expert among them."""
    return Frontier.of(np.append(costs, mean_cost[place]), np.append(qualities, mean_quality[place]))


def _of(frontier: Frontier, low: float, high: float, best_quality: float) -> dict[str, Any]:
    told: dict[str, Any] = {
        "aiq": frontier.mean(low, high),
        "aiq_log": frontier.mean(low, high, log=True) if low > 0 else frontier.mean(low, high),
        "max_quality": float(frontier.quality[-1]),
    }
    for share in COST_SHARES:
        told[f"quality_at_{round(100 * share)}pct_cost"] = float(frontier.at(share * high))
    for share in QUALITY_SHARES:
        cost = frontier.cost_of(share * best_quality)
        told[f"cost_for_{round(100 * share)}pct_quality"] = None if cost is None or not high else cost / high
    return told
