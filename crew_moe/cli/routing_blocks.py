"""Puts `routing:` blocks into agents.yaml and tasks.yaml without touching anything else in them.

The text is edited by lines, with the places of a YAML parser, so that comments, quotes and the order of keys stay.
Afterwards the result is parsed and compared: but for the new blocks it must say what it said before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from crew_moe.documents import read_mapping
from crew_moe.routing.features import infer_task_type

ROUTING: Final = "routing"
Block = Callable[[Mapping[str, Any]], Sequence[str]]
"""Makes the lines of a block, without indentation, from an entry's values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """The new text; `added` and `skipped` name entries. Skipped ones share or inline their mapping."""

    text: str
    added: tuple[str, ...]
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where an entry stands: the line of its name, the column of its keys, and the line after its last one."""

    name: str
    head: int
    column: int
    end: int


def task_block(entry: Mapping[str, Any]) -> Sequence[str]:
    """The task type that the task's own words tell, to be corrected by whoever knows better."""
    words = f"{entry.get('description', '')}\n{entry.get('expected_output', '')}".lower()
    if not words.strip():
        return (f"{ROUTING}:", "  task_type: analysis  # a guess: the task has no words to tell by")
    task_type, confidence = infer_task_type(words, 0)
    return (f"{ROUTING}:", f"  task_type: {task_type}  # read off the description, {100 * confidence:.0f} % sure")


def agent_block(entry: Mapping[str, Any]) -> Sequence[str]:
    """An empty block: the place for defaults of the agent's tasks."""
    if entry.get("llm"):
        return (f"{ROUTING}: {{}}  # decides instead of llm from now on; to keep one expert: {{pin: its id}}",)
    return (f"{ROUTING}: {{}}  # defaults for this agent's tasks, such as tier, min_quality or budget_usd",)


def add_blocks(text: str, path: Path, block: Block) -> Edited:
    """`text`, the content of `path`, with a block in every entry that has none. Raises ConfigError for no YAML."""
    entries = read_mapping(path)
    open_entries = [name for name, entry in entries.items() if isinstance(entry, dict) and ROUTING not in entry]
    places = {place.name: place for place in _places(text)}
    added: list[str] = []
    for name in reversed(open_entries):  # from the end, so that the lines of earlier entries stay where they are
        place = places.get(name)
        edited = None if place is None else _with_block(text, place, block(entries[name]))
        if edited is not None:
            text, added = edited, [name, *added]
    skipped = tuple(name for name in open_entries if name not in added)
    return Edited(text=text, added=tuple(added), skipped=skipped)


def _places(text: str) -> list[_Place]:
    """Entries in block style that hold a mapping of their own, neither inline nor shared by an alias."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        return []
    starts = [key.start_mark.line for key, _ in root.value] + [len(text.splitlines())]
    found = []
    for (key, value), following in zip(root.value, starts[1:], strict=True):
        own = isinstance(value, yaml.MappingNode) and not value.flow_style and value.value
        if own and value.start_mark.line > key.start_mark.line:
            first = value.value[0][0].start_mark
            found.append(_Place(name=str(key.value), head=key.start_mark.line, column=first.column, end=following))
    return found


def _with_block(text: str, place: _Place, block: Sequence[str]) -> str | None:
    """The text with the block behind the entry's last key, else before its first; None when neither reads right."""
    lines = text.splitlines(keepends=True)
    ending = "\r\n" if lines[place.head].endswith("\r\n") else "\n"
    made = [f"{' ' * place.column}{line}{ending}" for line in block]
    for at in (_last_line(lines, place), place.head + 1):
        before = lines[:at]
        if before and not before[-1].endswith("\n"):
            before[-1] += ending
        edited = "".join([*before, *made, *lines[at:]])
        if _says_the_same(text, edited, place.name):
            return edited
    return None


def _last_line(lines: Sequence[str], place: _Place) -> int:
    """The line after the entry's last words; blank lines and comments of the entry that follows are not among them."""
    at = place.end
    while at > place.head + 1:
        line = lines[at - 1]
        indent = len(line) - len(line.lstrip())
        if line.strip() and not (line.lstrip().startswith("#") and indent < place.column):
            break
        at -= 1
    return at


def _says_the_same(before: str, after: str, name: str) -> bool:
    """Whether `after` is `before` and a routing block in the entry `name`."""
    try:
        old, new = yaml.safe_load(before), yaml.safe_load(after)
    except yaml.YAMLError:
        return False
    if not isinstance(new.get(name), dict) or new[name].pop(ROUTING, None) is None:
        return False
    return bool(old == new)
