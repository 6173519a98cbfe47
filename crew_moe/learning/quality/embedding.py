"""A sentence embedder of one's own: how it is found, what it reads, and what its vectors say of quality."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import isfunction
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from crew_moe.errors import ConfigError, InvalidInput
from crew_moe.learning.named import imported, look_in, told
from crew_moe.ports import Embedder

Floats = NDArray[np.float64]

BATCH: Final = 256  # texts embedded at once
_LENGTH_OFF: Final = 0.01  # half precision passes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NamedEmbedder:
    """An embedder, the `module:object` that it is found by, and the version that it had then."""

    name: str
    version: str
    embedder: Embedder

    def vectors(self, texts: Sequence[str], dimensions: int | None = None) -> Floats:
        """A row for each text, (texts, dimensions). Raises InvalidInput for other rows than the port promises, and
        whatever the embedder does.
        """
        found = np.asarray(self.embedder.embed(texts), dtype=np.float64)
        wanted = (len(texts), dimensions or (found.shape[1] if found.ndim == 2 else 1))
        if found.shape != wanted:
            raise InvalidInput(f"the embedder '{self.name}' gave {found.shape} for {wanted} numbers")
        if not np.allclose(np.linalg.norm(found, axis=1), 1.0, atol=_LENGTH_OFF):
            raise InvalidInput(f"the embedder '{self.name}' gave rows whose length is not 1")
        return found

    def read(self, texts: Sequence[str], step: Callable[[str], None]) -> Floats:
        """Many texts in batches; `step` hears of each. Raises InvalidInput for an embedder that fails."""
        if not texts:
            raise InvalidInput("a decision log holds no text to embed", where=self.name, allowed=("--data PATH",))
        found: list[Floats] = []
        for start in range(0, len(texts), BATCH):
            step("embedding")
            try:
                found.append(self.vectors(texts[start : start + BATCH], found[0].shape[1] if found else None))
            except InvalidInput:
                raise
            except Exception as error:  # its words may hold a text
                raise InvalidInput(f"the embedder '{self.name}' failed: {type(error).__name__}") from error
        return np.vstack(found)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embedding:
    """What vectors say beyond the task, linearly: `slopes` (dimensions, experts) from their `centre` (dimensions,)."""

    centre: Floats
    slopes: Floats

    def say(self, vectors: Floats) -> Floats:
        """(rows, dimensions) -> quality above the mean, (rows, experts)."""
        return (vectors - self.centre) @ self.slopes


def batches(texts: int) -> int:
    """How often `read` steps."""
    return -(-texts // BATCH)


def load_embedder(name: str, *, file: str, key: str = "", folder: Path | None = None) -> NamedEmbedder:
    """The embedder that `module:object` names: an instance, or what gives one when called without arguments.

    Modules are installed or lie in `folder`. Raises ConfigError at `file` and `key`.
    """
    if not all(name.partition(":")):
        raise ConfigError(f"'{name}' names no object of a module", file=file, key=key, allowed=("module:object",))
    look_in(folder)
    found = imported(name, file, key, lambda one: hasattr(one, "embed") or isfunction(one))
    return named(name, _instance(name, found, file, key), file=file, key=key)


def named(name: str, embedder: Any, *, file: str, key: str = "") -> NamedEmbedder:
    """An embedder at hand. Raises ConfigError for what is none."""
    what = f"'{name}' is no embedder: it needs embed(texts) and a version that is a str"
    try:
        embed, version = getattr(embedder, "embed", None), getattr(embedder, "version", None)
    except Exception as error:
        raise ConfigError(f"{what}; {told(error)}", file=file, key=key) from error
    if not callable(embed) or not isinstance(version, str) or not version:
        raise ConfigError(what, file=file, key=key)
    return NamedEmbedder(name=name, version=version, embedder=embedder)


def _instance(name: str, found: Any, file: str, key: str) -> object:
    if not callable(found) or (hasattr(found, "embed") and not isinstance(found, type)):
        return found
    try:
        return found()
    except Exception as error:
        raise ConfigError(f"'{name}' can't be made without arguments: {told(error)}", file=file, key=key) from error
