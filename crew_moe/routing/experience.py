"""What was observed of every expert at one task type, as columns: worked out once per snapshot and task type."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from crew_moe.domain.policy import Policy
from crew_moe.domain.snapshot import Snapshot
from crew_moe.domain.task import TaskType
from crew_moe.routing.columns import Columns, Floats
from crew_moe.state.performance import confidence


class Experience(NamedTuple):
    """Each (experts,). `trusted` says how far the record may be, 0-1: by its size and its age (seed 001).

    `success` is the rate of success, drawn towards the assumed reliability while samples are few; `learned` the weight
    that feedback gave, or the prior. Predicted output tokens are `multiplier` x the task type's prediction + `tokens`,
    the observed average's own part.
    """

    trusted: Floats
    success: Floats
    learned: Floats
    multiplier: Floats
    tokens: Floats


def experience_of(columns: Columns, policy: Policy, snapshot: Snapshot, task_type: TaskType) -> Experience:
    """Lay the records of one task type out in registry order; experts without one have the assumed figures."""
    count = len(columns.ids)
    trusted, tokens, multiplier = np.zeros(count), np.zeros(count), np.ones(count)
    success, learned = columns.reliability.copy(), np.full(count, policy.thresholds.learning_prior)
    by_history, by_usage = policy.thresholds.history_samples, policy.cost.usage_samples
    for (expert_id, observed_at), record in snapshot.performance.items():
        index = columns.index.get(expert_id)
        if observed_at != task_type or index is None:
            continue
        trusted[index] = confidence(record, snapshot.taken_at)
        if record.success_rate is not None:
            assumed = by_history * success[index]
            success[index] = (assumed + record.samples * record.success_rate) / (by_history + record.samples)
        if record.learned is not None:
            learned[index] = record.learned
        if record.output_tokens:
            multiplier[index] = by_usage / (by_usage + record.samples)
            tokens[index] = (1.0 - multiplier[index]) * record.output_tokens
    return Experience(trusted, success, learned, multiplier, tokens)
