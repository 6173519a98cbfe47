"""The training loop of the tiny models: AdamW, a rate that rises and then falls, batches from a lesson.

Adam with decoupled decay: Loshchilov and Hutter, "Decoupled weight decay regularization" (2019); the decay is 0 here.
The rate rises over the first steps and falls along a cosine to nothing, so that the end of the steps, or of the time,
is the end of learning.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import torch

from crew_moe.ports import Clock

IGNORED: Final = -100  # a label that no loss is counted for
_RISING: Final = 0.05  # share of the training
_CLIPPED: Final = 1.0
_BETAS: Final = (0.9, 0.98)


class Batch(NamedTuple):
    """Token ids, (texts, tokens) each; labels are IGNORED where the wanted text has ended."""

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor


class News(NamedTuple):
    """How far the training is: the share that is done, in [0, 1], and the loss of the last batch, in nats a token."""

    done: float
    steps: int
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How long and how fast is learned: `texts` a batch, `rate` at its highest."""

    steps: int
    texts: int
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What was done: steps, wall-clock seconds and the loss of every step."""

    steps: int
    seconds: float
    losses: tuple[float, ...]


class Lesson(Protocol):
    """One tiny model, what it practises, and how it is judged."""

    model: Any  # a transformers model; `model(**inputs, labels=labels).loss`
    tokenizer: Any
    recipe: Recipe

    def batch(self, done: float) -> Batch:
        """The next batch, as hard as suits the share of the training that is done."""

    def accuracy(self) -> dict[str, dict[str, float]]:
        """How well it does on what was held out, by task and measure."""


def fit(
    lesson: Lesson, *, clock: Clock, limit_s: float | None = None, told: Callable[[News], object] = lambda _: None
) -> Course:
    """Train the lesson's model in place, for its recipe's steps or until `limit_s` seconds have passed.

    The same lesson gives the same weights on the same machine and threads, unless time runs out.
    """
    recipe, model = lesson.recipe, lesson.model
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, betas=_BETAS, weight_decay=0.0)
    began, losses = clock.monotonic(), list[float]()
    model.train()
    while (done := _done(len(losses) / recipe.steps, clock.monotonic() - began, limit_s)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * rate_at(done)
        batch = lesson.batch(done)
        loss = model(**batch.inputs, labels=batch.labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIPPED)
        optimizer.step()
        losses.append(loss.item())
        told(News(done, len(losses), losses[-1]))
    model.eval()
    course = Course(steps=len(losses), seconds=clock.monotonic() - began, losses=tuple(losses))
    told(News(1.0, course.steps, losses[-1]))
    return course


def rate_at(done: float) -> float:
    """The share of the highest rate that is used when this share of the training is done."""
    if done < _RISING:
        return (done + 0.1 * _RISING) / (1.1 * _RISING)
    return 0.5 * (1 + math.cos(math.pi * (done - _RISING) / (1 - _RISING)))


def _done(by_steps: float, seconds: float, limit_s: float | None) -> float:
    return by_steps if limit_s is None else max(by_steps, seconds / limit_s)


def padded(rows: list[list[int]], filler: int) -> torch.Tensor:
    """(rows, longest row) token ids."""
    longest = max(map(len, rows))
    return torch.tensor([row + [filler] * (longest - len(row)) for row in rows])
