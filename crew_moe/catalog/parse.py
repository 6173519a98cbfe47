"""From layered YAML files to one validated model, with an error that names the file and the key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from crew_moe.documents import read_mapping
from crew_moe.domain.complaint import complaint
from crew_moe.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)


def parse_layers(files: Sequence[Path], model: type[Model]) -> Model:
    """Read `files` from lowest to highest precedence, merge them key by key, validate the whole."""
    return parse_documents([(file, read_mapping(file)) for file in files], model)


def parse_documents(documents: Sequence[tuple[Path, Mapping[str, Any]]], model: type[Model]) -> Model:
    """As `parse_layers`, of documents that were read before, each with the name that errors call it by."""
    merged: dict[str, Any] = {}
    for _, document in documents:
        merged = merge(merged, document)
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        loc = error.errors(include_url=False)[0]["loc"]
        what, key, value, allowed = complaint(error, model)
    raise ConfigError(what, file=str(_origin(documents, loc)), key=key, value=value, allowed=allowed)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`: mappings are merged, everything else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _origin(documents: Sequence[tuple[Path, Mapping[str, Any]]], loc: tuple[int | str, ...]) -> Path:
    """The file of highest precedence that holds the longest part of the path to the mistake."""
    return max(enumerate(documents), key=lambda item: (_depth(item[1][1], loc), item[0]))[1][0]


def _depth(document: Any, loc: tuple[int | str, ...]) -> int:
    depth = 0
    for part in loc:
        inside = part in document if isinstance(document, Mapping) else _in_list(document, part)
        if not inside:
            break
        document = document[part]
        depth += 1
    return depth


def _in_list(document: Any, part: int | str) -> bool:
    return isinstance(document, list) and isinstance(part, int) and part < len(document)
