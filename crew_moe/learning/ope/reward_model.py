"""A reward model for off-policy evaluation: one ridge over all arms, cross-fitted."""

from __future__ import annotations

from math import sqrt
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from crew_moe.learning.ope.rounds import Floats, Rounds

FOLDS: Final = 5


class Ridge(NamedTuple):
    """How firmly each part is held to zero, in rounds' worth of evidence: what an arm has of its own, what a feature
    means for all arms, and what it means for one arm beyond that.
    """

    arm: float
    feature: float
    own: float


RIDGES: Final = (Ridge(1.0, 2.0, 6.0), Ridge(4.0, 8.0, 24.0), Ridge(16.0, 32.0, 200.0))


def cross_fitted(
    rounds: Rounds, context: Floats, rng: np.random.Generator, *, prior: Floats | None = None, folds: int = FOLDS
) -> Floats:
    """Predicted rewards, (rounds, arms), of each round by a model that has not seen it.

    reward = mean + arm + feature + feature of that arm, each shrunk to zero, so that an arm with few rounds has what
    all arms have in common. `context` is (rounds, features), best about 1 in size; `prior`, (rounds, arms), is what
    another model predicts, and then it is the fault of that model that is learned. How firmly it is held is the one of
    RIDGES that errs least on the rounds that it has not seen.
    """
    count = len(rounds)
    fold = rng.permutation(count) % max(2, min(folds, count))
    before = np.zeros((count, rounds.arms)) if prior is None else prior
    fault = rounds.reward - rounds.chosen(before)
    centred = context - context.mean(axis=0)
    features = centred[:, np.abs(centred).max(axis=0) > 0.0] if centred.size else np.zeros((count, 0))
    best: Floats = before
    least = np.inf
    for ridge in RIDGES:
        learned = np.zeros((count, rounds.arms))
        for number in range(int(fold.max()) + 1):
            seen = fold != number
            learned[~seen] = _learned(
                features[seen], rounds.action[seen], fault[seen], features[~seen], rounds.arms, ridge
            )
        missed = float(((fault - rounds.chosen(learned)) ** 2).sum())
        if missed < least:
            best, least = np.asarray(before + learned), missed
    return best


def _learned(
    features: Floats, action: npt.NDArray[np.int64], reward: Floats, asked: Floats, arms: int, ridge: Ridge
) -> Floats:
    """Predictions for `asked`, (asked, arms)."""
    mean = float(reward.mean())
    arm, feature, own = (1.0 / sqrt(weight) for weight in ridge)
    which: Floats = np.eye(arms, dtype=np.float64)[action]
    crossed = (which[:, :, None] * features[:, None, :]).reshape(len(features), -1)
    design = np.hstack([which * arm, features * feature, crossed * own])
    weights = np.linalg.solve(design.T @ design + np.eye(design.shape[1]), design.T @ (reward - mean))
    width = features.shape[1]
    by_arm = weights[:arms] * arm
    by_feature = weights[arms : arms + width] * feature
    by_both = weights[arms + width :].reshape(arms, width) * own
    predicted = mean + by_arm + (asked @ by_feature)[:, None] + asked @ by_both.T
    return np.asarray(predicted, dtype=np.float64)
