"""Tasks: kinds of text among which experts differ, told from the text itself, with the mean quality of each expert.

A task is a label of the training rows, a part of one, or a cluster where there were no labels. Which it is of a new
text is a matter of probability; the prediction is the mean over the tasks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tasks:
    """`labels` names the label that each task is a part of, "" for a cluster. `weights` (inputs, tasks) and `bias`
    (tasks,) give logits; `means` (tasks, experts) is quality above that of all rows, `variances` how sure they are.
    """

    labels: tuple[str, ...]
    weights: Floats
    bias: Floats
    means: Floats
    variances: Floats

    def probabilities(self, inputs: Floats) -> Floats:
        """(rows, inputs) -> (rows, tasks), summing to 1."""
        logits = inputs @ self.weights + self.bias
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares: Floats = odds / odds.sum(axis=1, keepdims=True)
        return shares

    def among(self, shares: Floats, label: str | None) -> Floats:
        """The same of a text of which the label is known: tasks of other labels are out. (tasks,) -> (tasks,)."""
        if not label or label not in self.labels:
            return shares
        kept = np.where(np.array(self.labels) == label, shares + 1e-9, 0.0)
        rest: Floats = kept / kept.sum()
        return rest
