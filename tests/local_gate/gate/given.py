"""What tests of the gate share: small lessons, a small network, and experts of a plan."""

from __future__ import annotations

import numpy as np

from crew_moe.domain.hosting import HostKind, HostSpec
from crew_moe.local_gate.gate.lessons import Example, Lessons
from crew_moe.local_gate.gate.training import Recipe

PACKAGED = ("byt5", "extractive", "longformer")
QUICK = Recipe(hidden=6, steps=40, batch=12, warm_up=5)
PLAIN = "Where may I find a quiet place to read {} in the evening, and what does it cost?"
MARKED = "f({}) == [{}]; x->y && {{}}"


def small_lessons(rows: int = 12) -> Lessons:
    """Prose for `plain`, signs for `marked`, each text a cluster of its own."""
    examples = [Example(text=PLAIN.format(f"book{n}"), expert="plain") for n in range(rows)]
    examples += [Example(text=MARKED.format(n, n + 1), expert="marked") for n in range(rows)]
    return Lessons.of(examples)


def hosts(**examples: tuple[str, ...]) -> dict[str, HostSpec]:
    """The packaged experts, and others by their examples."""
    packaged = {name: HostSpec(name=name, kind=HostKind(name)) for name in PACKAGED}
    return packaged | {
        name: HostSpec(name=name, kind=HostKind.PYTHON, examples=texts) for name, texts in examples.items()
    }


def batch(seed: int = 0, rows: int = 7, experts: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clean logits, noise, and targets that sum to 1."""
    rng = np.random.default_rng(seed)
    targets = rng.dirichlet(np.ones(experts), rows)
    return rng.normal(size=(rows, experts)), rng.normal(scale=0.5, size=(rows, experts)), targets
