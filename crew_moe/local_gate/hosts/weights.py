"""Where a model's weights lie, what is wrong with them, and which version they are; without torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

from crew_moe.domain.hosting import HostSpec
from crew_moe.errors import HostFailed
from crew_moe.local_gate.hosts.failures import bad_weights, missing_weights

CONFIG: Final = "config.json"
SUFFIXES: Final = (".safetensors", ".bin")
WHOLE_BYTES: Final = 16 * 2**20
"""Files up to this size are part of the version by what is in them, larger ones by their size and time of change."""
TRAIN_DEMO: Final = "crew-moe local train-demo"
_LENGTH_BYTES: Final = 8  # a safetensors file begins with its header's length, little-endian


def source(spec: HostSpec) -> str:
    """The folder or the hub's id that the weights come from. Raises HostFailed."""
    if spec.path is not None:
        check(spec.path)
        return str(spec.path)
    if spec.hub is None:
        raise missing_weights("no weights are named", "give the expert a `path:` (a folder) or a `hub:` (a model's id)")
    return spec.hub


def check(folder: Path) -> None:
    """Raise HostFailed where the folder holds no model, or one that is cut off or isn't what it says."""
    if not folder.is_dir():
        raise _missing(folder, "there is no such folder")
    if not (folder / CONFIG).is_file():
        raise _missing(folder, f"it has no {CONFIG}")
    files = list(weight_files(folder))
    if not files:
        raise _missing(folder, "it has a config.json, but no weights (*.safetensors or *.bin)")
    _check_config(folder / CONFIG)
    for file in files:
        if file.suffix == ".safetensors":
            _check_tensors(file)


def weight_files(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)


def weights_bytes(spec: HostSpec) -> int:
    """What the weights take on the disk, which is about what they take in memory; 0 where that can't be told."""
    if spec.path is None or not spec.path.is_dir():
        return 0
    return sum(file.stat().st_size for file in weight_files(spec.path))


def version(spec: HostSpec, *, folder: Path | None = None, commit: str | None = None, dtype: str = "") -> str:
    """Twelve hex digits of everything that an answer depends on: the weights and what the spec says of their use.

    The folder's files count by what is in them, large ones by size and time of change; what comes from elsewhere by
    its own name of itself, `commit`.
    """
    digest = sha256()
    told = (spec.kind, spec.hub, commit, dtype, spec.quantisation, spec.max_output_tokens, spec.chunk_tokens,
            spec.overlap_tokens, sorted((key, str(value)) for key, value in spec.options.items()))  # fmt: skip
    digest.update(repr(told).encode())
    if folder is not None:
        for file in sorted(path for path in folder.iterdir() if path.is_file()):
            digest.update(file.name.encode())
            digest.update(_content(file))
    return digest.hexdigest()[:12]


def _content(file: Path) -> bytes:
    stat = file.stat()
    if stat.st_size <= WHOLE_BYTES:
        return sha256(file.read_bytes()).digest()
    return f"{stat.st_size}:{stat.st_mtime_ns}".encode()


def _missing(folder: Path, why: str) -> HostFailed:
    return missing_weights(
        f"no model in {folder}: {why}",
        f"{TRAIN_DEMO} (trains the demonstration models)",
        "or point `path:` at a model's folder, or `hub:` at a model's id",
    )


def _check_config(file: Path) -> None:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise bad_weights(f"{file} is not a JSON object")


def _check_tensors(file: Path) -> None:
    """The header is whole and names no tensor beyond the file's end."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
        header = stream.read(length) if 0 < length <= size - _LENGTH_BYTES else b""
    try:
        tensors = json.loads(header)
        ends = [entry["data_offsets"][1] for name, entry in tensors.items() if name != "__metadata__"]
        whole = max(ends, default=0) == size - _LENGTH_BYTES - length
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise bad_weights(f"{file} is damaged or cut off")
