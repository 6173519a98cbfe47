"""Tasks: kinds of text among which experts differ, told from the text itself, with the mean quality of each expert.

A task is a label of the training rows, a part of one, or a cluster where there were no labels. Which it is of a new
text is a matter of probability; the prediction is the mean over the tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_FAINT: Final = 1e-9  # odds of a task that the text speaks against and the label for


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

    def shares(self, inputs: Floats, labels: Sequence[str | None]) -> Floats:
        """How likely each row, (rows, inputs), is of each task: (rows, tasks), summing to 1. Where its label is known,
        that leaves only the tasks which are parts of it.
        """
        logits = inputs @ self.weights + self.bias
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        for number, label in enumerate(labels):
            if label and label in self.labels:
                odds[number] = np.where(np.array(self.labels) == label, odds[number] + _FAINT, 0.0)
        found: Floats = odds / odds.sum(axis=1, keepdims=True)
        return found
