"""Reading YAML and JSON that somebody else wrote: bounded, strict, and with the place of every mistake."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any, Final

import yaml

from crew_moe.errors import ConfigError

MAX_BYTES: Final = 4_000_000
MAX_ALIASES: Final = 100
MAX_DEPTH: Final = 40


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that counts aliases and depth (YAML bombs) and refuses a key that stands twice."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.aliases_seen = 0
        self.depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            self.aliases_seen += 1
            if self.aliases_seen > MAX_ALIASES:
                raise yaml.MarkedYAMLError(problem=f"more than {MAX_ALIASES} aliases", problem_mark=self._mark())
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {MAX_DEPTH} levels", problem_mark=self._mark())
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        self.flatten_mapping(node)
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(getattr(key_node, "value", ""))
            if isinstance(key_node, yaml.ScalarNode) and key in seen:
                raise yaml.MarkedYAMLError(problem=f"key '{key}' stands twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def _mark(self) -> Any:
        return self.peek_event().start_mark


def read_text(path: Path) -> str:
    """The file as UTF-8 text; raises ConfigError when it is missing, too large or no text."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ConfigError(f"{size:,} bytes is too large", file=str(path), allowed=(f"up to {MAX_BYTES:,} bytes",))
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        reason, siblings = "no such file", _siblings(path)
    except IsADirectoryError:
        reason, siblings = "is a folder, not a file", ()
    except UnicodeDecodeError:
        reason, siblings = "is not UTF-8 text", ()
    except OSError as error:
        reason, siblings = f"can't be read ({error.strerror})", ()
    raise ConfigError(reason, file=str(path), value=path.name if siblings else None, allowed=siblings)


def read_yaml(path: Path) -> Any:
    """The document in `path` (YAML, of which JSON is a part); raises ConfigError with file and line."""
    text = read_text(path)
    try:
        # The loader is a SafeLoader: it builds plain values only.
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or "can't be parsed"
        key = f"line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
    except (yaml.YAMLError, RecursionError, ValueError):
        problem, key = "is no YAML", ""
    raise ConfigError(problem, file=str(path), key=key)


def read_mapping(path: Path) -> dict[str, Any]:
    """A document whose top is a mapping with string keys."""
    document = read_yaml(path)
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise ConfigError("the top of the file must be a mapping with names as keys", file=str(path))
    return document


def _siblings(path: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(item.name for item in path.parent.iterdir() if item.suffix == path.suffix))[:20]
    except OSError:
        return ()
