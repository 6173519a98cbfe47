"""Experts that the gate knows by a few examples only.

Each example is also read with words left out, in part, and spliced with another of its expert: what five examples have
in common is then told apart from what each of them happens to be, its length and the words that occur once.

Such an expert still has a small place among experts with hundreds of lessons, right around its examples, and what lies
between belongs to nobody. So its logit is raised half the way to where one in TAKEN of the other experts' lessons would
be taken by it.

Examples of an expert that has lessons too would be lost among these: they get an output of their own, `<name>+`, whose
probability is added to the expert's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Final

import numpy as np

from crew_moe.local_gate.gate.lessons import Example, Lessons, Look
from crew_moe.local_gate.gate.network import MORE, Network
from crew_moe.local_gate.gate.training import USUAL, Recipe, fit

PER_EXAMPLE: Final = 30
TAKEN: Final = 200
_HALF_WAY: Final = 0.5
_PIECE: Final = re.compile(r"\S+\s*")


def fit_with(lessons: Lessons, given: Mapping[str, Sequence[str]], look: Look, recipe: Recipe = USUAL) -> Network:
    """A network of lessons and of examples by expert; always the same for the same."""
    rng = Random(recipe.seed)
    outputs = {name: name + MORE if name in lessons.experts else name for name in sorted(given)}
    read = [Example(text=text, expert=one) for name, one in outputs.items() for text in variants(given[name], rng)]
    network = fit(lessons.plus(Lessons.of(read, look)), recipe)
    for newcomer in outputs.values():
        network = _raised(network, newcomer, lessons)
    return network


def _raised(network: Network, newcomer: str, lessons: Lessons) -> Network:
    logits = network.logits(lessons.vectors)
    own = network.experts.index(newcomer)
    margins = np.delete(logits, own, axis=1).max(1) - logits[:, own]
    bias = network.weights.b2.copy()
    bias[own] += max(0.0, _HALF_WAY * float(np.quantile(margins, 1.0 / TAKEN)))
    return replace(network, weights=replace(network.weights, b2=bias))


def variants(texts: Sequence[str], rng: Random) -> Iterator[str]:
    """The texts themselves, and PER_EXAMPLE versions of each; the same for the same state of `rng`."""
    pieces = [_PIECE.findall(f"{text} ") for text in texts]  # so that the last word, too, ends with a blank
    for text, own in zip(texts, pieces, strict=True):
        yield text
        for _ in range(PER_EXAMPLE if own else 0):
            yield "".join(_thinned(_spliced(own, rng.choice(pieces), rng), rng)).rstrip()


def _spliced(own: Sequence[str], other: Sequence[str], rng: Random) -> Sequence[str]:
    """All of it, its beginning or end, or its beginning with the end of another."""
    cut, shape = rng.randint(0, len(own)), rng.random()
    if shape < 0.4:
        return own
    if shape < 0.7:
        return (own[:cut] if cut > len(own) // 2 else own[cut:]) or own
    return [*own[:cut], *other[rng.randint(0, len(other)) :]] or own


def _thinned(pieces: Sequence[str], rng: Random) -> Sequence[str]:
    """With up to three words out of ten left out."""
    share = 0.3 * rng.random()
    return [piece for piece in pieces if rng.random() >= share] or pieces
