"""A small world to train in: two vocabularies that hardly meet, in the shape of the real data."""

from __future__ import annotations

from random import Random

from crew_moe.screening.corpus import Example

EVIL = ["ignore", "disregard", "override", "instructions", "rules", "reveal", "prompt", "jailbreak"]
GOOD = ["weather", "garden", "recipe", "football", "music", "holiday", "painting", "river"]


def examples(count: int = 60, *, ordinary: str = "benign_ordinary", seed: int = 7) -> list[Example]:
    """Half attacks, half ordinary texts of six words."""
    rng = Random(seed)
    return [
        Example(
            id=str(number),
            text=" ".join(rng.choices(EVIL if number % 2 else GOOD, k=6)),
            label=number % 2,
            source="tiny",
            category="direct" if number % 2 else ordinary,
            cluster=f"tiny-{number}",
        )
        for number in range(count)
    ]
