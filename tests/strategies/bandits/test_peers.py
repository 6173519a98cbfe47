"""Beside two libraries, on the same rounds: mabwiser's LinUCB says what ours says, and VW's squarecb earns no more."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
import pytest

from crew_moe.learning.arms import Arms, Floats
from crew_moe.learning.offers import knowing, offer
from crew_moe.strategies.bandits import LinUCB, SquareCB

pytestmark = pytest.mark.accept  # to import mabwiser alone takes seconds
ARMS = ("a", "b", "c", "d")
SLATE = [offer(name) for name in ARMS]
ROUNDS, FEATURES = 400, 6


def rounds(seed: int) -> tuple[Floats, Floats]:
    """Contexts (rounds, features) with a constant, and the rewards (rounds, arms) of each arm, 0 or 1."""
    rng = np.random.default_rng(seed)
    contexts = np.column_stack([np.ones(ROUNDS), rng.uniform(-1.0, 1.0, (ROUNDS, FEATURES - 1))])
    chance = np.clip(0.5 + contexts @ rng.normal(0.0, 0.25, (FEATURES, len(ARMS))), 0.0, 1.0)
    return contexts, (rng.random(chance.shape) < chance).astype(np.float64)


def asked(arms: Arms, x: Floats) -> tuple[dict[str, float], dict[str, float]]:
    mean, width = arms.outlook(x)
    return dict(zip(ARMS, mean.tolist(), strict=True)), dict(zip(ARMS, width.tolist(), strict=True))


def test_linucb_expects_and_picks_what_mabwiser_does() -> None:
    mab = pytest.importorskip("mabwiser.mab", reason="mabwiser is not installed")
    contexts, rewards = rounds(1)
    peer = mab.MAB(list(ARMS), mab.LearningPolicy.LinUCB(alpha=0.5, l2_lambda=1.0), seed=1)
    peer.fit(list(ARMS), [rewards[0, arm] for arm in range(4)], contexts[[0] * 4])
    ours = Arms.fresh(ARMS, np.ones(FEATURES), pooled=False)
    for arm, name in enumerate(ARMS):
        ours.learn(name, contexts[0], rewards[0, arm])
    for x, earned in zip(contexts[1:], rewards[1:], strict=True):
        mean, width = asked(ours, x)
        expected = peer.predict_expectations([x])
        assert {name: mean[name] + 0.5 * width[name] for name in ARMS} == pytest.approx(expected)
        pick = LinUCB().select(knowing(mean=mean, width=width, alpha=0.5), SLATE, Random(1)).expert_id
        assert pick == max(expected, key=lambda name: expected[name])
        reward = float(earned[ARMS.index(pick)])
        ours.learn(pick, x, reward)
        peer.partial_fit([pick], [reward], [x])


def test_squarecb_earns_what_vowpal_wabbits_does() -> None:
    vw = pytest.importorskip("vowpalwabbit", reason="vowpalwabbit is not installed")
    ours, theirs = [], []
    for seed in range(3):
        contexts, rewards = rounds(seed)
        ours.append(squarecb_regret(contexts, rewards))
        theirs.append(vw_regret(vw, contexts, rewards, seed))

    assert sum(ours) <= sum(theirs) + 0.05 * 3 * ROUNDS


def squarecb_regret(contexts: Floats, rewards: Floats) -> float:
    arms, rng, earned = Arms.fresh(ARMS, np.ones(FEATURES)), Random(1), 0.0
    for x, row in zip(contexts, rewards, strict=True):
        mean, width = asked(arms, x)
        pick = SquareCB().select(knowing(mean=mean, width=width, gamma=100.0), SLATE, rng).expert_id
        reward = float(row[ARMS.index(pick)])
        arms.learn(pick, x, reward)
        earned += reward
    return float(rewards.sum(axis=0).max()) - earned


def vw_regret(vw: object, contexts: Floats, rewards: Floats, seed: int) -> float:
    workspace = vw.Workspace(  # type: ignore[attr-defined]  # the module has no types
        f"--cb_explore_adf --squarecb --gamma_scale 100 -q :: --quiet --random_seed {seed + 1}"
    )
    rng, earned = Random(seed), 0.0
    for x, row in zip(contexts, rewards, strict=True):
        chances = workspace.predict(example(x))
        arm = rng.choices(range(len(ARMS)), chances)[0]
        workspace.learn(example(x, f"{arm}:{-row[arm]}:{chances[arm]}", arm))
        earned += row[arm]
    workspace.finish()
    return float(rewards.sum(axis=0).max()) - earned


def example(x: Floats, label: str = "", labelled: int = -1) -> Sequence[str]:
    """One round as lines of VW's format: the context shared, then a line an arm, one of them with its cost."""
    shared = "shared |s " + " ".join(f"f{number}:{value:.6f}" for number, value in enumerate(x.tolist()))
    return [shared, *(f"{label if arm == labelled else ''} |a arm={name}" for arm, name in enumerate(ARMS))]
