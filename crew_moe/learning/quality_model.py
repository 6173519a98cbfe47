"""The quality model: how well each expert will do at a text, and how sure that is, learned from graded answers.

    text [+ task type] -> Prediction(quality, spread, cost_usd by expert, familiar)

One model may hold several parts, one for each set of experts that were graded together; an expert of several parts is
predicted by the part that finds the text least strange. Prediction needs numpy alone. A model is two files: the numbers
(.npz, no pickle) and what is known of them (.json, with digests); a file that was changed is not loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from crew_moe.errors import ConfigError, InvalidInput
from crew_moe.learning.quality.embedding import NamedEmbedder, load_embedder, named
from crew_moe.learning.quality.file import files_of, read_model, write_model
from crew_moe.learning.quality.part import Part
from crew_moe.learning.quality.sight import FEATURES, TEXT, Seen, features_of, see, see_features
from crew_moe.learning.quality.table import Table
from crew_moe.ports import Embedder

Floats = NDArray[np.float64]
Labels = Sequence[str | None]


class Prediction(NamedTuple):
    """Of one text, in the order of the model's experts: quality in [0, 1], the standard deviation of that, and the cost
    of a call in US$ (NaN where no cost was known); each (experts,). Not `familiar`: unlike what was learned from.
    `failed`: the kind of error of the embedder, which had no say then.
    """

    quality: Floats
    spread: Floats
    cost_usd: Floats
    familiar: bool
    failed: str = ""


class Predictions(NamedTuple):
    """The same of many texts: (texts, experts), and `familiar` (texts,)."""

    quality: Floats
    spread: Floats
    cost_usd: Floats
    familiar: NDArray[np.bool_]
    failed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QualityModel:
    """Safe for threads. `version` names this very model; "untrained" until it was saved."""

    parts: tuple[Part, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    version: str = "untrained"
    embedder: NamedEmbedder | None = None
    _places: Mapping[str, tuple[tuple[int, int], ...]] = field(init=False)  # by expert: its parts, and its place there

    def __post_init__(self) -> None:
        found: dict[str, tuple[tuple[int, int], ...]] = {}
        for number in sorted(range(len(self.parts)), key=lambda number: -self.parts[number].rows):
            for place, expert_id in enumerate(self.parts[number].experts):
                found[expert_id] = (*found.get(expert_id, ()), (number, place))
        object.__setattr__(self, "_places", {expert_id: found[expert_id] for expert_id in sorted(found)})

    @property
    def experts(self) -> tuple[str, ...]:
        """Ids of all experts that it has learned of, in order."""
        return tuple(self._places)

    @property
    def mean(self) -> Mapping[str, float]:
        """Mean quality of each expert over the rows learned from; of several parts, over those of the largest."""
        return {one: float(self.parts[part].mean[place]) for one, ((part, place), *_) in self._places.items()}

    def predict(self, text: str, task_type: str | None = None) -> Prediction:
        """What to expect of every expert. A `task_type` that is one of the labels learned from is taken as true."""
        many = self.predict_many((text,), (task_type,))
        return Prediction(many.quality[0], many.spread[0], many.cost_usd[0], bool(many.familiar[0]), many.failed)

    def predict_many(self, texts: Sequence[str], task_types: Labels | None = None) -> Predictions:
        """The same of many texts at once."""
        labels = tuple(task_types) if task_types is not None else (None,) * len(texts)
        seen = {sees: _SIGHTS[sees](texts, labels) for sees in {part.sees for part in self.parts}}
        vectors, failed = self._embedded(texts)
        said = [part.predict(*seen[part.sees], vectors) for part in self.parts]
        strangeness = np.stack([one.strangeness for one in said])
        return Predictions(
            quality=self._gathered([one.quality for one in said], strangeness),
            spread=self._gathered([one.spread for one in said], strangeness),
            cost_usd=self._gathered([one.cost_usd for one in said], strangeness),
            familiar=strangeness.min(axis=0) <= 1.0,
            failed=failed,
        )

    def save(self, path: Path) -> Self:
        """Write both files; gives what `load` will. Raises ConfigError where that can't be done.

        A `path` that ends in .npz or .json names one of the two, any other a folder; the same model gives the same
        bytes.
        """
        write_model(path, self.parts, self.provenance, self.embedder_told)
        return self.load(path, None if self.embedder is None else self.embedder.embedder)

    @property
    def embedder_told(self) -> Mapping[str, Any] | None:
        """What the files say of the embedder: name, version, dimensions."""
        if self.embedder is None:
            return None
        return {"name": self.embedder.name, "version": self.embedder.version, "dimensions": self._dimensions}

    @classmethod
    def load(cls, path: Path, embedder: Embedder | None = None, *, folder: Path | None = None) -> Self:
        """Read a model. Raises ConfigError for a file that is missing, changed, or made by another version.

        An embedder that it was learned with is found by its name, installed or in `folder`, unless one is given;
        one of another version than it learned from is refused (ConfigError).
        """
        read = read_model(path)
        found = None if read.embedder is None else _embedder(read.embedder, embedder, files_of(path)[1], folder)
        return cls(parts=read.parts, provenance=read.provenance, version=read.version, embedder=found)

    @property
    def _dimensions(self) -> int | None:
        embeddings = [part.learners.embedding for part in self.parts]
        return next((len(one.centre) for one in embeddings if one is not None), None)

    def _embedded(self, texts: Sequence[str]) -> tuple[Floats | None, str]:
        """The vectors; None, and the kind of error, of an embedder that fails: a prediction goes on without."""
        if self.embedder is None:
            return None, ""
        try:
            return self.embedder.vectors(texts, self._dimensions), ""
        except Exception as error:  # noqa: BLE001 - it is the user's code, and a decision must not break on it
            return None, type(error).__name__

    def _gathered(self, found: Sequence[Floats], strangeness: Floats) -> Floats:
        """(texts, experts) of what the parts say; `strangeness` (parts, texts)."""
        if len(found) == 1:
            return found[0]  # one part's experts are in order
        rows = np.arange(strangeness.shape[1])
        columns = []
        for places in self._places.values():
            usual = strangeness[[part for part, _ in places]].argmin(axis=0)
            columns.append(np.stack([found[part][:, place] for part, place in places])[usual, rows])
        return np.stack(columns, axis=1)


def fit(
    tables: Sequence[Table],
    *,
    seed: int = 0,
    provenance: Mapping[str, Any] | None = None,
    step: Any = lambda _: None,
    embedder: NamedEmbedder | None = None,
) -> QualityModel:
    """Learn from tables, one part for each set of experts; `step` hears of training.STEPS steps for each, and of each
    of embedding.batches.

    Needs scikit-learn: raises MissingExtra without it, InvalidInput without a table.
    """
    from crew_moe.learning.quality.training import fit_part

    if not tables:
        raise InvalidInput("there is nothing to learn from")
    vectors = [None if embedder is None else embedder.read(table.texts, step) for table in tables]
    fitted = [fit_part(table, seed, step, found) for table, found in zip(tables, vectors, strict=True)]
    told = {"seed": seed, **(provenance or {}), "parts": [figures for _, figures in fitted]}
    return QualityModel(parts=tuple(part for part, _ in fitted), provenance=told, embedder=embedder)


def _embedder(told: Mapping[str, Any], given: Embedder | None, file: Path, folder: Path | None) -> NamedEmbedder:
    name, learned = str(told["name"]), told["version"]
    if given is None:
        found = load_embedder(name, file=str(file), key="embedder", folder=folder)
    else:
        found = named(name, given, file=str(file), key="embedder")
    if found.version != learned:
        what = f"it was learned with version '{learned}' of '{name}', and this is '{found.version}': install that one"
        raise ConfigError(f"{what}, or train again: crew-moe quality fit --embedder {name}", file=str(file))
    return found


def _by_text(texts: Sequence[str], labels: Labels) -> tuple[list[Seen], Labels]:
    return [see(text) for text in texts], labels


def _by_features(texts: Sequence[str], labels: Labels) -> tuple[list[Seen], Labels]:
    """As the log would keep it; a task type that nobody named is the one that is inferred."""
    found = [features_of(text, label) for text, label in zip(texts, labels, strict=True)]
    return [see_features(one) for one in found], [one.task_type.value for one in found]


_SIGHTS: Final = {TEXT: _by_text, FEATURES: _by_features}
