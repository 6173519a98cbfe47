"""Training: its gradients by every weight, its repeatability, and what it does for each expert."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crew_moe.errors import InvalidInput
from crew_moe.local_gate.features import FEATURES, features
from crew_moe.local_gate.gate.lessons import Example, Lessons
from crew_moe.local_gate.gate.losses import LossWeights
from crew_moe.local_gate.gate.network import Array, Weights, softmax
from crew_moe.local_gate.gate.training import Adam, Recipe, fit, loss_and_gradients, untrained
from tests.local_gate.gate.given import MARKED, PLAIN, QUICK, batch, small_lessons

FLAT = 5  # features of the small networks here
RECIPE = Recipe(losses=LossWeights(importance=0.3, load=0.7, z=0.05))


def small_weights(hidden: int = 3, experts: int = 4) -> tuple[Weights, Array]:
    rng = np.random.default_rng(3)
    shapes = ((FLAT, hidden), (hidden,), (hidden, experts), (experts,))
    return Weights(*(rng.normal(size=shape) for shape in shapes)), rng.normal(size=(7, FLAT))


def numeric(weights: Weights, name: str, x: Array, noise: Array, targets: Array, step: float = 1e-6) -> Array:
    gradient: Array = np.zeros_like(getattr(weights, name))
    for place in np.ndindex(gradient.shape):
        values = []
        for sign in (1, -1):
            moved = getattr(weights, name).copy()
            moved[place] += sign * step
            values.append(loss_and_gradients(replace(weights, **{name: moved}), x, targets, noise, RECIPE)[0])
        gradient[place] = (values[0] - values[1]) / (2 * step)
    return gradient


@pytest.mark.parametrize("name", Weights.__slots__)
def test_gradient_by_each_weight_is_that_of_finite_differences(name: str) -> None:
    weights, x = small_weights()
    _, noise, targets = batch()

    _, gradients = loss_and_gradients(weights, x, targets, noise, RECIPE)

    assert getattr(gradients, name) == pytest.approx(numeric(weights, name, x, noise, targets), abs=1e-7)


def test_finite_differences_tell_weights_that_were_moved() -> None:
    weights, x = small_weights()
    _, noise, targets = batch()
    moved = replace(weights, w2=weights.w2 * 1.01)

    _, gradients = loss_and_gradients(moved, x, targets, noise, RECIPE)

    assert gradients.w1 != pytest.approx(numeric(weights, "w1", x, noise, targets), abs=1e-7)


def test_gradients_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    weights, x = small_weights()
    _, noise, targets = batch()
    recipe = replace(RECIPE, losses=LossWeights(importance=0.0, load=0.0, z=0.05))
    w1, b1, w2, b2 = (torch.tensor(one, requires_grad=True) for one in weights)
    noisy = torch.tanh(torch.tensor(x) @ w1 + b1) @ w2 + b2 + torch.tensor(noise)
    loss = -(torch.tensor(targets) * noisy.log_softmax(-1)).sum(-1).mean() + 0.05 * (noisy.logsumexp(-1) ** 2).mean()
    loss.backward()

    value, gradients = loss_and_gradients(weights, x, targets, noise, recipe)

    assert value == pytest.approx(loss.item(), abs=1e-9)
    for ours, theirs in zip(gradients, (w1, b1, w2, b2), strict=True):
        assert ours == pytest.approx(theirs.grad.numpy(), abs=1e-9)


def test_same_lessons_and_seed_give_the_same_network() -> None:
    first, second = (fit(small_lessons(), QUICK) for _ in range(2))
    other = fit(small_lessons(), replace(QUICK, seed=1))

    assert all(np.array_equal(one, two) for one, two in zip(first.weights, second.weights, strict=True))
    assert not np.array_equal(first.weights.w1, other.weights.w1)


def test_network_learns_its_lessons() -> None:
    network = fit(small_lessons(), QUICK)
    texts = (MARKED.format(99, 98), PLAIN.format("poems"))

    chosen = [network.experts[int(network.logits(features(text).vector).argmax())] for text in texts]

    assert chosen == ["marked", "plain"]


def test_expert_with_few_lessons_is_heard_as_well_as_one_with_many() -> None:
    many = [Example(text=PLAIN.format(n), expert="plain") for n in range(60)]
    few = [Example(text=MARKED.format(n, n), expert="marked") for n in range(2)]

    network = fit(Lessons.of(many + few), QUICK)

    assert softmax(network.logits(features(MARKED.format(7, 8)).vector))[0] > 0.8


def test_every_expert_is_pulled_up_while_training_warms_up() -> None:
    lessons = small_lessons()
    started = untrained(lessons, QUICK, np.random.default_rng(0))
    favoured = replace(started.weights, b2=np.array([4.0, -4.0]))
    uniform = np.full((len(lessons), 2), 0.5)

    _, gradients = loss_and_gradients(
        favoured, started.standardised(lessons.vectors), uniform, np.zeros_like(uniform), QUICK
    )

    assert gradients.b2[0] > 0 > gradients.b2[1]  # the favourite goes down, the other one up


def test_feature_that_never_varied_says_nothing_later() -> None:
    network = fit(small_lessons(), QUICK)
    seen = features(PLAIN.format("x")).vector.copy()
    told = seen.copy()
    told[FEATURES.index("language_de")] = 1.0

    assert np.array_equal(network.logits(seen), network.logits(told))


def test_large_gradient_counts_as_one_of_the_allowed_length() -> None:
    weights, _ = small_weights()
    small, huge = (Weights(*(np.full_like(one, size) for one in weights)) for size in (1e-3, 1e9))
    length = np.sqrt(sum(one.size for one in weights))
    allowed = Weights(*(np.full_like(one, RECIPE.clip / length) for one in weights))
    adams = [Adam(weights, RECIPE) for _ in range(2)]

    for adam, second in zip(adams, (huge, allowed), strict=True):
        adam.step(small, rate=0.01)
        adam.step(second, rate=0.01)

    for one, two in zip(adams[0].weights, adams[1].weights, strict=True):
        assert one == pytest.approx(two, abs=1e-8)


def test_one_expert_alone_can_not_be_learned() -> None:
    with pytest.raises(InvalidInput, match="two experts"):
        fit(Lessons.of([Example(text="a", expert="only")]), QUICK)


def test_each_step_is_told() -> None:
    steps: list[int] = []

    fit(small_lessons(), QUICK, step=lambda: steps.append(1))

    assert len(steps) == QUICK.steps
