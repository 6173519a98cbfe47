"""A linear model over hashed n-grams and patterns: its weights, its files, and how its score is scaled.

    logit = bias + sum(weights of word n-grams) / sqrt(how many) + the same for characters + sum(weights of patterns)
    score = 1 / (1 + exp(-(logit - threshold)))

The threshold is a logit chosen in training on texts that the model had not seen; the sigmoid around it is monotone, so
that a score of 0.5 is the threshold and the order of texts is that of their logits.

A model is two files: NAME.npz holds the weights (16-bit floats, no pickle), NAME.json says where they come from and
holds their digest. A file that was changed is not loaded.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from crew_moe.domain.digest import canonical, checksum
from crew_moe.domain.screening import Concern
from crew_moe.errors import InvalidInput
from crew_moe.screening.features import DIMENSIONS, Features

FORMAT: Final = 1
FOLDER: Final = Path(__file__).with_name("models")
_STEEPEST: Final = 500.0  # beyond it the sigmoid is 0 or 1 in any float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinearModel:
    """Weights and what is known of them. `ngrams` has DIMENSIONS entries, `patterns` is by the pattern's name."""

    concern: Concern
    ngrams: NDArray[np.float32]
    patterns: Mapping[str, float]
    bias: float
    threshold: float
    provenance: Mapping[str, Any] = field(default_factory=dict)
    version: str = "untrained"

    def logit(self, seen: Features, pattern_weights: NDArray[np.float32]) -> float:
        """The evidence in one window; `pattern_weights` stand in the order of the patterns looked for."""
        return (
            self.bias
            + _mean_root(self.ngrams, seen.words)
            + _mean_root(self.ngrams, seen.characters)
            + float(pattern_weights[seen.patterns].sum() if seen.patterns else 0.0)
        )

    def score(self, logit: float) -> float:
        """In [0, 1]; 0.5 at the threshold."""
        return 1.0 / (1.0 + math.exp(min(_STEEPEST, max(-_STEEPEST, self.threshold - logit))))

    def save(self, folder: Path) -> None:
        """Write CONCERN.npz and CONCERN.json; the same model gives the same bytes."""
        weights = self._packed()
        (folder / f"{self.concern.value}.npz").write_bytes(weights)
        document = {
            "format": FORMAT,
            "concern": self.concern.value,
            "weights": checksum(weights),
            "bias": self.bias,
            "threshold": self.threshold,
            "patterns": dict(self.patterns),
            "provenance": dict(self.provenance),
        }
        document["digest"] = checksum(canonical(document))
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        (folder / f"{self.concern.value}.json").write_text(text, encoding="utf-8")

    def _packed(self) -> bytes:
        kept = np.flatnonzero(self.ngrams)
        packed = io.BytesIO()
        np.savez_compressed(packed, indices=kept.astype(np.uint32), values=self.ngrams[kept].astype(np.float16))
        return packed.getvalue()

    @classmethod
    def load(cls, concern: Concern, folder: Path) -> Self:
        """Read a model; raises InvalidInput when a file is missing, of another format, or was changed."""
        described = folder / f"{concern.value}.json"
        document = _document(described)
        weights = _bytes(folder / f"{concern.value}.npz")
        if document.get("concern") != concern.value or document.get("format") != FORMAT:
            raise InvalidInput(f"is not a model for {concern.value} of format {FORMAT}", where=str(described))
        if document["weights"] != checksum(weights):
            raise InvalidInput("does not hold the weights that were trained", where=str(described.with_suffix(".npz")))
        return cls(
            concern=concern,
            ngrams=_unpacked(weights),
            patterns=document["patterns"],
            bias=document["bias"],
            threshold=document["threshold"],
            provenance=document["provenance"],
            version=f"{concern.value}-linear@{document['digest'][:12]}",
        )


@cache
def packaged(concern: Concern) -> LinearModel:
    """The model that ships with the package; loaded once per process."""
    return LinearModel.load(concern, FOLDER)


def _mean_root(weights: NDArray[np.float32], indices: NDArray[np.int64]) -> float:
    return float(weights[indices].sum()) / math.sqrt(len(indices)) if len(indices) else 0.0


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"can't be read ({error.strerror})", where=str(path)) from None


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(_bytes(path))
    except ValueError:
        raise InvalidInput("is not JSON", where=str(path)) from None
    told = document.pop("digest", None) if isinstance(document, dict) else None
    if told != checksum(canonical(document)):
        raise InvalidInput("was changed after training: its digest is not that of its content", where=str(path))
    document["digest"] = told
    return dict(document)


def _unpacked(weights: bytes) -> NDArray[np.float32]:
    with np.load(io.BytesIO(weights), allow_pickle=False) as arrays:
        ngrams = np.zeros(DIMENSIONS, dtype=np.float32)
        ngrams[arrays["indices"]] = arrays["values"]
    ngrams.setflags(write=False)
    return ngrams
