"""Our own sentences to train on: templates in YAML, filled by a seeded draw. They are data, not code.

A folder of YAML files: `about`, `licence`, `label`, `slots` (words by name) and `families`, each with `texts` that hold
{slot} marks, `each` (how many fillings of a text at most) and, where it differs from the family's name, a `category`.
A slot keeps its word throughout a text; {slot2} is another word of the same slot.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

FOLDER: Final = Path(__file__).with_name("corpus")
OWN: Final = "own"
_SLOT: Final = re.compile(r"\{([a-z]+)(2?)\}")
_TRIES: Final = 3  # draws per wanted filling; a text with few slots has few fillings


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One text to learn from. `label` 1 is the concern; a split keeps a `cluster` of near duplicates together."""

    id: str
    text: str
    label: int
    source: str
    category: str
    cluster: str


def written(name: str, seed: int, *, folder: Path = FOLDER) -> list[Example]:
    """The examples of one file (`attacks`, without its ending), the same for the same seed.

    >>> examples = written("attacks", seed=1)
    >>> examples == written("attacks", seed=1), {example.label for example in examples}
    (True, {1})
    """
    import yaml

    document = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    rng = Random(seed)
    return [
        Example(
            id=f"{OWN}-{name}-{family}-{row}-{number}",
            text=text,
            label=int(document["label"]),
            source=f"{OWN}_{name}",
            category=entry.get("category", family),
            cluster=f"{OWN}-{name}-{family}-{row}",
        )
        for family, entry in document["families"].items()
        for row, template in enumerate(entry["texts"])
        for number, text in enumerate(_fillings(template, document.get("slots", {}), int(entry["each"]), rng))
    ]


def _fillings(template: str, slots: Mapping[str, Any], wanted: int, rng: Random) -> Iterator[str]:
    """Up to `wanted` different fillings."""
    seen: set[str] = set()
    named = {found[1] for found in _SLOT.finditer(template)}
    used = {name: [str(choice) for choice in choices] for name, choices in slots.items() if name in named}
    for _ in range(wanted * _TRIES if used else 1):
        words = {name: rng.sample(choices, 2) for name, choices in used.items()}
        text = _filled(template, words)
        if text not in seen:
            seen.add(text)
            yield text
        if len(seen) == wanted:
            return


def _filled(template: str, words: Mapping[str, Sequence[str]]) -> str:
    def word(found: re.Match[str]) -> str:
        name, other = found.groups()
        return words[name][bool(other)] if name in words else found[0]

    return re.sub(r"(?<=\w)  (?=\w)", " ", _SLOT.sub(word, template))  # an empty word leaves two blanks
