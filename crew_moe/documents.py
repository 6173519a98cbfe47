"""Reading YAML and JSON that somebody else wrote: bounded, strict, and with the place of every mistake."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from crew_moe.errors import ConfigError

MAX_BYTES: Final = 4_000_000
MAX_VALUES: Final = 200_000
MAX_DEPTH: Final = 40


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key that stands twice, and bounds what aliases unfold to (YAML bombs)."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._sizes: dict[int, int] = {}  # by id of the node: how many values it unfolds to

    def compose_node(self, parent: Any, index: Any) -> Any:
        mark: Any = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # the stubs leave it out
        is_alias = self.check_event(yaml.AliasEvent)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {MAX_DEPTH} levels", problem_mark=mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if not is_alias:
            self._sizes[id(node)] = self._size(node, mark)
        elif id(node) not in self._sizes:
            raise yaml.MarkedYAMLError(problem="an alias stands inside what it names", problem_mark=mark)
        return node

    def _size(self, node: Any, mark: Any) -> int:
        if isinstance(node, yaml.MappingNode):
            _refuse_twins(node)
            parts = [part for pair in node.value for part in pair]
        else:
            parts = node.value if isinstance(node, yaml.SequenceNode) else []
        size = 1 + sum(self._sizes[id(part)] for part in parts)
        if size > MAX_VALUES:
            raise yaml.MarkedYAMLError(problem=f"unfolds to more than {MAX_VALUES:,} values", problem_mark=mark)
        return size


def _refuse_twins(node: yaml.MappingNode) -> None:
    """Looks at the keys as they are written: one that overrides a merged one (`<<`) is no twin."""
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key '{key.value}' stands twice", problem_mark=key.start_mark)
            seen.add(key.value)


def read_text(path: Path) -> str:
    """The file as UTF-8 text, without the mark that editors put first; raises ConfigError when it is missing, too
    large or no text.
    """
    try:
        with path.open("rb") as file:
            return as_text(file.read(MAX_BYTES + 1), str(path))
    except FileNotFoundError:
        reason, siblings = "no such file", _siblings(path)
    except IsADirectoryError:
        reason, siblings = "is a folder, not a file", ()
    except OSError as error:
        reason, siblings = f"can't be read ({error.strerror})", ()
    raise ConfigError(reason, file=str(path), value=path.name if siblings else None, allowed=siblings)


def as_text(raw: bytes, file: str) -> str:
    """The text in `raw`, of which one byte more than is allowed was read: a device's or a pipe's size is not known."""
    if len(raw) > MAX_BYTES:
        raise ConfigError("is too large", file=file, allowed=(f"up to {MAX_BYTES:,} bytes",))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8 text", file=file) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_yaml(path: Path) -> Any:
    """The document in `path` (YAML, of which JSON is a part); raises ConfigError with file and line."""
    return parse_yaml(read_text(path), str(path))


def parse_yaml(text: str, file: str) -> Any:
    """The document in `text`, which errors say stands in `file`."""
    try:
        # The loader is a SafeLoader: it builds plain values only.
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - it is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or "can't be parsed"
        key = f"line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
    except (yaml.YAMLError, RecursionError, ValueError):
        problem, key = "is no YAML", ""
    raise ConfigError(problem, file=file, key=key)


def read_mapping(path: Path) -> dict[str, Any]:
    """A document whose top is a mapping with string keys."""
    return as_mapping(read_yaml(path), str(path))


def as_mapping(document: Any, file: str) -> dict[str, Any]:
    """The document itself, empty where there is none; raises ConfigError where it is no mapping with string keys."""
    if document is None:
        return {}
    if not isinstance(document, Mapping) or not all(isinstance(key, str) for key in document):
        raise ConfigError("the top of the file must be a mapping with names as keys", file=file)
    return dict(document)


def _siblings(path: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(item.name for item in path.parent.iterdir() if item.suffix == path.suffix))[:20]
    except OSError:
        return ()
