"""Learning what may still hold for texts of another kind than those learned from.

Weights that were fitted against each other cancel out only where they were fitted. So the form counts by its covariance
with quality, number by number: one direction, the first component of partial least squares (Wold 1975), of the numbers
whose influence is beyond chance. A few shallow trees over the same numbers add a little of what bends.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from crew_moe.learning.quality.boosting import Boosting, grown
from crew_moe.learning.quality.part import Elsewhere, split

Floats = NDArray[np.float64]

BEYOND_CHANCE: Final = 2.0  # standard errors
TREES: Final = Boosting(trees=80, step=0.05, leaves=3)
TREES_SHARE: Final = 0.2  # of what the direction says, in standard deviations
_NOTHING: Final = 1e-9


def elsewhere_of(form: Floats, above: Floats, seed: int) -> Elsewhere:
    """From forms (rows, f) and quality above the mean (rows, experts)."""
    trees = grown(form, above, seed, TREES)
    by_trees = trees.predict(form)
    direction = np.zeros((form.shape[1], above.shape[1]))
    values = trees.values.copy()
    level, differences = split(above)
    for part, outputs in ((level, slice(-1, None)), (differences, slice(0, -1))):
        along = _clear_covariance(form, part)
        say, add = form @ along, by_trees[:, outputs]
        if float(say.std()) < _NOTHING:
            values[:, outputs] = 0.0  # form says nothing of it
            continue
        share = TREES_SHARE * float(say.std()) / max(_NOTHING, float(add.std()))
        both = say + share * add
        slope = float((both * part).sum() / (both * both).sum())
        direction += slope * along
        values[:, outputs] *= slope * share
    return Elsewhere(direction=direction, trees=replace(trees, values=values))


def _clear_covariance(form: Floats, part: Floats) -> Floats:
    covariance = form.T @ part / len(form)
    error = part.std(axis=0) / np.sqrt(len(form))
    return np.where(np.abs(covariance) > BEYOND_CHANCE * error, covariance, 0.0)
