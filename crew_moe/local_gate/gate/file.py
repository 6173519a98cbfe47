"""A gate's files: gate.npz holds the numbers (no pickle), gate.json says what they are and holds their digests.

The manifest names the experts, the features that the gate was trained on, where its lessons came from and how well it
did. A file that was changed is not loaded, nor one that reads other features than this version of the package has.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from crew_moe.domain.digest import canonical, checksum, digest
from crew_moe.errors import ConfigError
from crew_moe.local_gate.features import FEATURES, features
from crew_moe.local_gate.gate.network import Network, Weights

FORMAT: Final = 1
_PROBE: Final = (
    '# Wie, *what*?\n\n1. `f(x)` == "é 42" -> {日}; e.g. two words. And a third sentence! \U0001f642\n|a|\n\tB'
)
_NUMBERS: Final = "gate.npz"
_MANIFEST: Final = "gate.json"
_AGAIN: Final = "train it again: crew-moe local train-gate"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GateFile:
    """A network, where it comes from (JSON-ready), and the name of this very version."""

    network: Network
    provenance: Mapping[str, Any] = field(default_factory=dict)
    version: str = "untrained"

    def save(self, folder: Path) -> Self:
        """Write both files, the folder if need be; gives what `load` will. Raises ConfigError where that can't be done.

        The numbers are rounded to 32-bit floats; the same gate gives the same bytes.
        """
        numbers = _packed(self.network)
        document: dict[str, Any] = {
            "format": FORMAT,
            "experts": list(self.network.experts),
            "features": features_digest(),
            "temperature": self.network.temperature,
            "numbers": checksum(numbers),
            "provenance": dict(self.provenance),
        }
        document["digest"] = checksum(canonical(document))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / _NUMBERS).write_bytes(numbers)
            text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
            (folder / _MANIFEST).write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"can't be written ({error.strerror or error})", file=str(folder)) from None
        return self.load(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a gate. Raises ConfigError for a file that is missing, changed, of another format or other features."""
        manifest, numbers_file = folder / _MANIFEST, folder / _NUMBERS
        document, numbers = _document(manifest), _bytes(numbers_file)
        if document.get("format") != FORMAT:
            raise ConfigError(f"is no gate of format {FORMAT}; {_AGAIN}", file=str(manifest))
        if document["features"] != features_digest():
            raise ConfigError(f"was trained on the features of another version; {_AGAIN}", file=str(manifest))
        if document["numbers"] != checksum(numbers):
            raise ConfigError("does not hold the numbers that were trained", file=str(numbers_file))
        network = _unpacked(numbers, tuple(document["experts"]), document["temperature"])
        return cls(network=network, provenance=document["provenance"], version=f"gate@{document['digest'][:12]}")


@cache
def features_digest() -> str:
    """Names the features that this version of the package reads: what they are called, and what they find in a text."""
    found = np.round(features(_PROBE).vector, 6).tolist()
    return digest(json.dumps([FEATURES, found])).hex()


def _packed(network: Network) -> bytes:
    arrays = {name: getattr(network.weights, name) for name in Weights.__slots__}
    arrays |= {"mean": network.mean, "scale": network.scale}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:  # numpy's own would write the time of day
        for name, array in sorted(arrays.items()):
            entry = io.BytesIO()
            np.save(entry, array.astype(np.float32), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), entry.getvalue(), zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _unpacked(numbers: bytes, experts: tuple[str, ...], temperature: float) -> Network:
    with np.load(io.BytesIO(numbers), allow_pickle=False) as arrays:
        read = {name: arrays[name].astype(np.float64) for name in arrays.files}
    return Network(
        experts=experts,
        mean=read.pop("mean"),
        scale=read.pop("scale"),
        weights=Weights(**read),
        temperature=temperature,
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"can't be read ({error.strerror}); a gate is {_NUMBERS} and {_MANIFEST}", file=str(path)
        ) from None


def _document(path: Path) -> dict[str, Any]:
    raw = _bytes(path)
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise ConfigError("is no JSON", file=str(path)) from None
    told = document.pop("digest", None) if isinstance(document, dict) else None
    if told is None:
        raise ConfigError("is not the manifest of a gate", file=str(path))
    if told != checksum(canonical(document)):
        raise ConfigError("was changed after training: its digest is not that of its content", file=str(path))
    return {**document, "digest": told}
