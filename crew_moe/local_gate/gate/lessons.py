"""What the gate learns from: texts with the expert that is right for them, as features."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from crew_moe.domain.digest import digest
from crew_moe.errors import ConfigError
from crew_moe.local_gate.features import FEATURES, TextFeatures, features
from crew_moe.local_gate.gate.network import Array

Look = Callable[[str], TextFeatures]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A text and the expert for it. Texts of one `cluster` are much alike, and are held out together."""

    text: str
    expert: str
    cluster: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """`vectors` (rows, features), and for each row its expert and its cluster."""

    vectors: Array
    labels: tuple[str, ...]
    clusters: tuple[str, ...]

    @classmethod
    def of(cls, examples: Iterable[Example], look: Look = features) -> Self:
        """Look at every text. An example without a cluster is its own, together with those of the same text."""
        rows, labels, clusters = [], [], []
        for example in examples:
            rows.append(look(example.text).vector)
            labels.append(example.expert)
            clusters.append(example.cluster or f"{example.expert}/{digest(example.text).hex()}")
        vectors = np.array(rows) if rows else np.zeros((0, len(FEATURES)))
        return cls(vectors, tuple(labels), tuple(clusters))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def experts(self) -> tuple[str, ...]:
        """Those that there are lessons of, in alphabetical order."""
        return tuple(sorted(set(self.labels)))

    def counts(self) -> dict[str, int]:
        """Rows by expert."""
        return {expert: self.labels.count(expert) for expert in self.experts}

    def digest(self) -> str:
        """Names these very lessons; to five digits, so that it is the same on every machine."""
        rounded = np.round(self.vectors, 5) + 0.0  # no -0.0
        return digest(f"{rounded.astype('<f4').tobytes().hex()}{self.labels}{self.clusters}").hex()

    def among(self, kept: NDArray[np.bool_]) -> Self:
        """Those of the rows alone."""
        rows = np.flatnonzero(kept)
        return type(self)(self.vectors[rows], _at(self.labels, rows), _at(self.clusters, rows))

    def plus(self, other: Lessons) -> Self:
        """Those of these lessons too."""
        vectors = np.concatenate([self.vectors, other.vectors])
        return type(self)(vectors, self.labels + other.labels, self.clusters + other.clusters)


def read_examples(path: Path) -> list[Example]:
    """Labelled texts from JSON lines of {"text": ..., "expert": ...}.

    Raises ConfigError, which names the file and the line.
    """
    try:
        with path.open(encoding="utf-8-sig") as lines:
            found = [_example(line, str(path), f"line {n}") for n, line in enumerate(lines, 1) if line.strip()]
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8 text", file=str(path)) from None
    except OSError as error:
        raise ConfigError(f"can't be read ({error.strerror})", file=str(path)) from None
    if not found:
        raise ConfigError("there is no example in it", file=str(path))
    return found


def _example(line: str, file: str, place: str) -> Example:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise ConfigError("is no JSON", file=file, key=place) from None
    if not isinstance(row, dict) or row.keys() != {"text", "expert"}:
        raise ConfigError('must be {"text": ..., "expert": ...} and nothing else', file=file, key=place)
    for key, value in row.items():
        if not isinstance(value, str) or not value.strip():
            raise ConfigError(f"'{key}' must be a text that is not empty", file=file, key=place)
    return Example(text=row["text"], expert=row["expert"])


def _at(names: Sequence[str], rows: NDArray[np.intp]) -> tuple[str, ...]:
    return tuple(names[row] for row in rows)
