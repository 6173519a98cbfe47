"""How well a score tells which texts need the stronger of two experts (RouteLLM's figures; Ong and others 2024).

Texts are sent to the strong expert in the order of the score. PGR, the performance gap recovered, is the part of the
way from the weak expert's accuracy (0) to the strong one's (1). APGR is its mean over all shares sent; CPT50 the share,
in per cent, at which it reaches one half. Texts of equal score are taken in random order, which a straight line stands
for.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from crew_moe.errors import InvalidInput

Floats = NDArray[np.float64]

THRESHOLDS: Final = (20, 50, 80, 95, 100)
ORACLE_STEPS: Final = 2001


def pair_figures(score: Floats, weak: Floats, strong: Floats) -> dict[str, Any]:
    """All figures of a score (higher: send to the strong expert) over rows of two qualities, JSON-ready.

    Raises InvalidInput where the strong expert is no better than the weak.
    """
    gain = float((strong - weak).sum())
    if gain <= 0:
        raise InvalidInput("the strong expert is no better than the weak one on these rows", where="--pair")
    sent, recovered = recovery(score, strong - weak)
    best = float(weak.mean() + recovered.max() * (strong.mean() - weak.mean()))
    oracle = _oracle(weak, strong)
    apgr = float(np.trapezoid(recovered, sent))
    return {
        "rows": len(score),
        "weak_accuracy": float(weak.mean()),
        "strong_accuracy": float(strong.mean()),
        "apgr": apgr,
        **{f"cpt{percent}": 100.0 * _first(sent, recovered, percent / 100.0) for percent in THRESHOLDS},
        "max_accuracy": best,
        "oracle_apgr": oracle,
        "apgr_gap_closed": (apgr - 0.5) / (oracle - 0.5) if oracle > 0.5 else 0.0,
    }


def recovery(score: Floats, difference: Floats) -> tuple[Floats, Floats]:
    """The share of texts sent, and what that recovers of the gap, at each distinct score from the highest down."""
    values, place = np.unique(score, return_inverse=True)
    texts = np.bincount(place, minlength=len(values))[::-1]
    gains = np.bincount(place, weights=difference, minlength=len(values))[::-1]
    sent = np.concatenate([[0.0], np.cumsum(texts) / len(score)])
    return sent, np.concatenate([[0.0], np.cumsum(gains) / difference.sum()])


def _first(sent: Floats, recovered: Floats, part: float) -> float:
    """The least share sent that recovers this part."""
    reached = int(np.argmax(recovered >= part))
    if reached == 0:
        return 0.0
    return float(np.interp(part, recovered[reached - 1 : reached + 1], sent[reached - 1 : reached + 1]))


def _oracle(weak: Floats, strong: Floats) -> float:
    """APGR of an order that knows where the strong expert gains, and where it loses."""
    gains, losses = float((strong > weak).mean()), float((strong < weak).mean())
    sent = np.linspace(0.0, 1.0, ORACLE_STEPS)
    reached = np.minimum(np.minimum(sent, gains), gains - (sent - (1.0 - losses)))
    return float(np.trapezoid(reached / (gains - losses), sent))
