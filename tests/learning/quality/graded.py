"""Graded questions with known truth: what experts are worth depends on the kind of question alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from crew_moe.screening.dataset import write_rows

WORTH: Final[Mapping[str, Mapping[str, float]]] = {
    "sums": {"small": 0.2, "large": 0.9},
    "facts": {"small": 0.8, "large": 0.7},
}
COST: Final[Mapping[str, float]] = {"small": 0.001, "large": 0.01}
_PHRASES: Final[Mapping[str, Sequence[str]]] = {
    "sums": ("What is {a} + {b} * {c}?", "Compute {a} - {b}, then add {c} to it.", "Find the sum of {a}, {b} and {c}."),
    "facts": ("Who wrote the {w} of {v}?", "Which river runs through {w}?", "When did the king of {v} meet {w}?"),
}
_WORDS: Final = ("Avon", "Lisbon", "Tales", "Arden", "Norway", "Verona", "Kent", "Dover", "Troy", "Crete")


def graded_rows(count: int, *, seed: int = 0, chance: bool = True) -> list[dict[str, Any]]:
    """Rows with a prompt, the kind it is of, and what each expert's answer was worth; without `chance`, on average."""
    rng = Random(seed)
    rows = []
    for number in range(count):
        kind = rng.choice(list(WORTH))
        worth = WORTH[kind]
        prompt = rng.choice(_PHRASES[kind]).format(
            a=rng.randrange(99), b=rng.randrange(99), c=rng.randrange(99), w=rng.choice(_WORDS), v=rng.choice(_WORDS)
        )
        quality = {name: float(rng.random() < value) if chance else value for name, value in worth.items()}
        rows.append(
            {
                "query_id": f"r{number}",
                "dataset": kind,
                "prompt": prompt,
                **{f"q:{name}": value for name, value in quality.items()},
                **{f"c:{name}": COST[name] * (1 + len(prompt) / 50) for name in worth},
            }
        )
    return rows


def graded_file(path: Path, count: int = 240, *, seed: int = 0) -> Path:
    """The same in a file."""
    write_rows(path, graded_rows(count, seed=seed))
    return path


@contextmanager
def folds(count: int) -> Iterator[None]:
    """Train with so many folds and fewer trees: less sure, in less time."""
    from crew_moe.learning.quality import boosting, elsewhere, training

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "FOLDS", count)
        patch.setattr(training, "grown", partial(boosting.grown, how=boosting.Boosting(trees=40, step=0.12)))
        patch.setattr(elsewhere, "TREES", replace(elsewhere.TREES, trees=30, step=0.12))
        yield
