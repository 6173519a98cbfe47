"""A quality model's files: NAME.npz holds the numbers (no pickle), NAME.json what they are, where from, and digests."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crew_moe.domain.digest import canonical, checksum
from crew_moe.errors import ConfigError
from crew_moe.learning.quality.codec import arrays_of, described, part_of
from crew_moe.learning.quality.form import NAMES
from crew_moe.learning.quality.part import Part
from crew_moe.learning.quality.sight import FEATURE_NAMES

FORMAT: Final = 1
FORMAT_EMBEDDED: Final = 2  # of a model with an embedder, which a reader of the first would not weigh right
STEM: Final = "quality"
_ENDINGS: Final = (".npz", ".json")
_AGAIN: Final = "train it again: crew-moe quality fit"
_SEES: Final = [*NAMES, *FEATURE_NAMES]


def files_of(path: Path) -> tuple[Path, Path]:
    """The two files, numbers and description, that a path of a model stands for."""
    stem = path.with_suffix("") if path.suffix in _ENDINGS else path / STEM
    return stem.with_name(f"{stem.name}.npz"), stem.with_name(f"{stem.name}.json")


def write_model(
    path: Path, parts: Sequence[Part], provenance: Mapping[str, Any], embedder: Mapping[str, Any] | None = None
) -> None:
    """Write both files, their folder if need be. Raises ConfigError where that can't be done."""
    numbers_file, manifest = files_of(path)
    numbers = _packed(parts)
    document: dict[str, Any] = {
        "format": FORMAT if embedder is None else FORMAT_EMBEDDED,
        "sees": checksum(" ".join(_SEES).encode()),
        "numbers": checksum(numbers),
        "parts": [described(part) for part in parts],
        "provenance": dict(provenance),
        **({} if embedder is None else {"embedder": dict(embedder)}),
    }
    document["digest"] = checksum(canonical(document))
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        manifest.parent.mkdir(parents=True, exist_ok=True)
        numbers_file.write_bytes(numbers)
        manifest.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"can't be written ({error.strerror or error})", file=str(path)) from None


class Read(NamedTuple):
    """What the files hold: the parts, where they come from, the name of this very model, and what is told of the
    embedder that it was learned with.
    """

    parts: tuple[Part, ...]
    provenance: Mapping[str, Any]
    version: str
    embedder: Mapping[str, Any] | None


def read_model(path: Path) -> Read:
    """Read both files. Raises ConfigError."""
    numbers_file, manifest = files_of(path)
    document = _document(manifest)
    numbers = _bytes(numbers_file)
    if document.get("format") not in {FORMAT, FORMAT_EMBEDDED} or document.get("sees") != checksum(
        " ".join(_SEES).encode()
    ):
        raise ConfigError(f"is no quality model that this version reads; {_AGAIN}", file=str(manifest))
    if document["numbers"] != checksum(numbers):
        raise ConfigError("does not hold the numbers that were trained", file=str(numbers_file))
    with np.load(io.BytesIO(numbers), allow_pickle=False) as arrays:
        read = {name: arrays[name] for name in arrays.files}
    parts = tuple(part_of(told, _of_part(read, number)) for number, told in enumerate(document["parts"]))
    return Read(parts, document["provenance"], f"quality@{document['digest'][:12]}", document.get("embedder"))


def _of_part(arrays: Mapping[str, NDArray[Any]], number: int) -> dict[str, NDArray[Any]]:
    start = f"{number}."
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}


def _packed(parts: Sequence[Part]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:  # numpy's own would write the time of day
        for number, part in enumerate(parts):
            for name, array in sorted(arrays_of(part).items()):
                entry = io.BytesIO()
                np.save(entry, array, allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{number}.{name}.npy"), entry.getvalue(), zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        what = f"can't be read ({error.strerror}); a quality model is two files, .npz and .json"
        raise ConfigError(what, file=str(path)) from None


def _document(path: Path) -> dict[str, Any]:
    raw = _bytes(path)
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise ConfigError("is no JSON", file=str(path)) from None
    told = document.pop("digest", None) if isinstance(document, dict) else None
    if told is None:
        raise ConfigError("is not the description of a quality model", file=str(path))
    if told != checksum(canonical(document)):
        raise ConfigError("was changed after training: its digest is not that of its content", file=str(path))
    return {**document, "digest": told}
