"""Graded questions made up for tests: one expert writes code well, another knows facts, a third is dear and fair."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

from crew_moe.screening.dataset import write_rows

SKILL = {"coder": (0.9, 0.2), "sage": (0.2, 0.9), "dear": (0.8, 0.8)}  # chance of a right answer: code, facts
COST = {"coder": 0.001, "sage": 0.002, "dear": 0.01}
TEXTS = ("Write a function that computes the {}. \n\n    def f():\n        return ()", "when was the {} built")


def graded_rows(count: int, seed: int = 1) -> list[dict[str, Any]]:
    rng = Random(seed)
    rows = []
    for number in range(count):
        kind = rng.randrange(2)
        row: dict[str, Any] = {"query_id": f"{seed}-{number}", "prompt": TEXTS[kind].format(f"thing {number}")}
        row |= {f"q:{name}": float(rng.random() < skill[kind]) for name, skill in SKILL.items()}
        row |= {f"c:{name}": cost * rng.uniform(0.9, 1.1) for name, cost in COST.items()}
        rows.append(row)
    return rows


def graded_file(path: Path, count: int, seed: int = 1) -> Path:
    write_rows(path, graded_rows(count, seed))
    return path
