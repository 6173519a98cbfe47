"""Names of people, roles and places: compared as they are written, counted as they look, shown without tricks."""

from __future__ import annotations

import unicodedata
from typing import Final

from crew_moe.errors import InvalidInput
from crew_moe.screening.text import fold

MAX_NAME_CHARS: Final = 200
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
"""Unicode's categories that nobody sees: controls, zero-width marks, unassigned, private, surrogates, separators."""


def plain_name(name: object, *, where: str) -> str:
    """A name as a configuration has it. Raises InvalidInput for an empty one, and for characters that nobody sees.

    Names are compared as they are written: one that holds what nobody sees would never match, or be a trick.
    """
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)  # the id of a guild, a channel or a role, which YAML reads as a number
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME_CHARS:
        raise InvalidInput(f"a name is a string of 1 to {MAX_NAME_CHARS} characters", where=where)
    if not all(map(_seen, name)):
        raise InvalidInput(f"the name {name!a} holds characters that nobody sees", where=where)
    return name


def folded(name: str) -> str:
    """One form for all names that look the same to a reader: without case, accents and characters that nobody sees."""
    return " ".join(fold(name).split())


def shown(text: str, limit: int = 80) -> str:
    """`text` for a person to read: in one line, without characters that nobody sees, not longer than `limit`."""
    seen = "".join(letter if _seen(letter) else " " for letter in text[: 4 * limit])
    line = " ".join(seen.split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


def _seen(letter: str) -> bool:
    return unicodedata.category(letter) not in _UNSEEN
