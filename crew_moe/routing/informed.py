"""A lane as it looks to a strategy that goes by predicted quality: the points differ, who is eligible does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from crew_moe.domain.insight import Insight
from crew_moe.routing.lane import Lane
from crew_moe.routing.scoring import scaled
from crew_moe.strategies import STRATEGIES


def is_informed(strategy: str) -> bool:
    """Whether this strategy goes by what was predicted for the text."""
    return getattr(STRATEGIES[strategy], "informed", False)


def informed(lane: Lane, insight: Insight) -> Lane:
    """The lane with the points of the predicted quality; of whom nothing was predicted, the catalogue's stay."""
    weight = scaled(lane.scene.policy.weights).quality
    known = zip(lane.roster.ids, lane.points.quality.tolist(), strict=True)
    predicted = ((insight.quality.get(expert_id), points) for expert_id, points in known)
    quality = np.array([points if value is None else value * weight for value, points in predicted])
    points = lane.points._replace(quality=quality)
    return replace(lane, points=points, figures=lane.figures._replace(base=points.total))
