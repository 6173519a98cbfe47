"""What was observed of every expert at one task type, as columns: worked out once per snapshot and task type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from crew_moe.domain.policy import Policy
from crew_moe.domain.snapshot import Performance
from crew_moe.domain.task import TaskType
from crew_moe.routing.columns import Columns, Floats


class Experience(NamedTuple):
    """Each (experts,). `samples` are observed calls, faded by age.

    `success` is the rate of success, drawn towards the assumed reliability while samples are few; `learned` the weight
    that feedback gave, or the prior. Predicted output tokens are `trust` x the multiplier's prediction + `tokens`, the
    observed average's own part.
    """

    samples: Floats
    success: Floats
    learned: Floats
    trust: Floats
    tokens: Floats


def experience_of(
    columns: Columns, policy: Policy, performance: Mapping[tuple[str, str], Performance], task_type: TaskType
) -> Experience:
    """Lay the records of one task type out in registry order; experts without one have the assumed figures."""
    count = len(columns.ids)
    samples, tokens, trust = np.zeros(count), np.zeros(count), np.ones(count)
    success, learned = columns.reliability.copy(), np.full(count, policy.thresholds.learning_prior)
    by_history, by_usage = policy.thresholds.history_samples, policy.cost.usage_samples
    for (expert_id, observed_at), record in performance.items():
        index = columns.index.get(expert_id)
        if observed_at != task_type or index is None:
            continue
        samples[index] = record.samples
        if record.success_rate is not None:
            assumed = by_history * success[index]
            success[index] = (assumed + record.samples * record.success_rate) / (by_history + record.samples)
        if record.learned is not None:
            learned[index] = record.learned
        if record.output_tokens:
            trust[index] = by_usage / (by_usage + record.samples)
            tokens[index] = (1.0 - trust[index]) * record.output_tokens
    return Experience(samples, success, learned, trust, tokens)
