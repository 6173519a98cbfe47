"""A part of the model as arrays by name and a JSON-ready rest, and back again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from crew_moe.learning.quality.embedding import Embedding
from crew_moe.learning.quality.forest import Forest
from crew_moe.learning.quality.part import Elsewhere, Learners, Part
from crew_moe.learning.quality.tasks import Tasks
from crew_moe.learning.quality.words import Words

Arrays = Mapping[str, NDArray[Any]]

_PART: Final = ("mean", "deviation", "form_mean", "form_scale", "whitening", "weights", "cost_mean", "cost_weights")
_TASKS: Final = ("weights", "bias", "means", "variances")
_TREES: Final = ("roots", "feature", "threshold", "left", "right", "values")
_WORDS: Final = ("grams", "rarity", "table")
_EMBEDDING: Final = ("centre", "slopes")
_STORED: Final = {
    "grams": np.uint32,
    "feature": np.int16,
    "roots": np.int32,
    "left": np.int32,
    "right": np.int32,
    "table": np.float16,
}


def arrays_of(part: Part) -> dict[str, NDArray[Any]]:
    """Every array by the name that it has in a file, in the type that it has there; 32-bit floats by default."""
    found = {
        **{name: getattr(part, name) for name in _PART},
        "form": part.learners.form,
        "direction": part.elsewhere.direction,
        **{f"tasks.{name}": getattr(part.learners.tasks, name) for name in _TASKS},
        **{f"trees.{name}": getattr(part.learners.trees, name) for name in _TREES},
        **{f"few.{name}": getattr(part.elsewhere.trees, name) for name in _TREES},
        **{f"words.{name}": getattr(part.words, name) for name in _WORDS},
        **_embedded(part),
    }
    return {name: array.astype(_STORED.get(name.rpartition(".")[2], np.float32)) for name, array in found.items()}


def described(part: Part) -> dict[str, Any]:
    """What is not an array."""
    return {
        "experts": list(part.experts),
        "rows": part.rows,
        "sees": part.sees,
        "farthest": part.farthest,
        "labels": list(part.learners.tasks.labels),
        "depth": part.learners.trees.depth,
        "few_depth": part.elsewhere.trees.depth,
    }


def part_of(told: Mapping[str, Any], arrays: Arrays) -> Part:
    """The part that `described` and `arrays_of` tell of; predictions are made in 64-bit floats."""
    floats = {name: array.astype(np.float64) for name, array in arrays.items() if array.dtype == np.float32}
    tasks = Tasks(labels=tuple(told["labels"]), **{name: floats[f"tasks.{name}"] for name in _TASKS})
    trees = _forest("trees", arrays, told["depth"])
    words = Words.of(
        arrays["words.grams"].astype(np.int64), arrays["words.rarity"], arrays["words.table"].astype(np.float32)
    )
    return Part(
        experts=tuple(told["experts"]),
        rows=told["rows"],
        sees=told["sees"],
        farthest=told["farthest"],
        words=words,
        learners=Learners(tasks=tasks, trees=trees, form=floats["form"], embedding=_embedding(floats)),
        elsewhere=Elsewhere(direction=floats["direction"], trees=_forest("few", arrays, told["few_depth"])),
        **{name: floats[name] for name in _PART},
        weights_embedded=floats.get("weights_embedded"),
    )


def _embedded(part: Part) -> dict[str, NDArray[Any]]:
    embedding, weights = part.learners.embedding, part.weights_embedded
    if embedding is None or weights is None:
        return {}
    return {**{f"embedding.{name}": getattr(embedding, name) for name in _EMBEDDING}, "weights_embedded": weights}


def _embedding(floats: Arrays) -> Embedding | None:
    if "weights_embedded" not in floats:
        return None
    return Embedding(**{name: floats[f"embedding.{name}"] for name in _EMBEDDING})


def _forest(name: str, arrays: Arrays, depth: int) -> Forest:
    return Forest(
        roots=arrays[f"{name}.roots"],
        feature=arrays[f"{name}.feature"].astype(np.int32),
        threshold=arrays[f"{name}.threshold"].astype(np.float64),
        left=arrays[f"{name}.left"],
        right=arrays[f"{name}.right"],
        values=arrays[f"{name}.values"].astype(np.float64),
        depth=depth,
    )
