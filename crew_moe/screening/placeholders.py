"""What stands for a value that may not be seen, `[EMAIL_1]`, and the ways in which a model garbles it.

Whole, in brackets of any kind and with loose spacing: `[EMAIL_1]`, `(email 1)`, `{ Credit card-2 }`, `\\[EMAIL\\_1\\]`.
With one square bracket lost the rest must be as it was given out, but for the case: `[EMAIL_1`, `EMAIL_1]`.
"""

from __future__ import annotations

import re
from typing import Final

from crew_moe.domain.screening import PiiType

LONGEST: Final = 64  # characters, more than any form that is recognised

_KINDS: Final = tuple(kind.value for kind in PiiType)
_LOOSE: Final = r"(?:\\?[_ -]){0,3}"


def _core(joint: str) -> str:
    return "(?:" + "|".join(kind.replace("_", joint) for kind in _KINDS) + rf"){joint}[0-9]{{1,9}}"


_STRICT: Final = _core("_")
_WIDE: Final = _core(_LOOSE)
PATTERN: Final = re.compile(
    rf"\\\[ ?{_WIDE} ?\\\]|[\[({{<] {{0,2}}{_WIDE} {{0,2}}[\])}}>]|\[{_STRICT}(?![0-9])|{_STRICT}\]",
    re.IGNORECASE | re.ASCII,
)
"""Everything that counts as a placeholder, whoever wrote it. No look-behind: a stream may be cut before any match."""

_PARTS: Final = re.compile(r"([A-Z]+(?:[^A-Z0-9]*[A-Z]+)*)[^A-Z0-9]*([0-9]+)")


def placeholder(kind: str, number: int) -> str:
    return f"[{kind}_{number}]"


def canonical(found: str) -> str:
    """The placeholder that a match of `PATTERN` stands for.

    >>> canonical("( credit card-2 )")
    '[CREDIT_CARD_2]'
    """
    parts = _PARTS.search(found.upper())
    if parts is None:
        return found
    letters = re.sub("[^A-Z]", "", parts[1])
    kind = next((kind for kind in _KINDS if kind.replace("_", "") == letters), letters)
    return placeholder(kind, int(parts[2]))


def _beginnings(*steps: str) -> str:
    """A pattern for every proper beginning of a sequence of steps, of which the last is never reached."""
    pattern = ""
    for step in reversed(steps[:-1]):
        pattern = f"{step}(?:{pattern})?" if pattern else step
    return pattern


def _spelled(joint: str) -> list[tuple[str, ...]]:
    """For each kind the steps of its core: letters, joints, and one last joint before the number."""
    return [(*(joint if char == "_" else char for char in kind), joint) for kind in _KINDS]


def _unfinished() -> re.Pattern[str]:
    digits = "[0-9]{1,9}"
    forms = [_beginnings(r"\\", r"\[", " ?", *steps, digits, " ?", r"\\", "end") for steps in _spelled(_LOOSE_STEP)]
    forms += [_beginnings(r"[\[({<]", " {0,2}", *steps, digits, " {0,2}", "end") for steps in _spelled(_LOOSE_STEP)]
    forms += [_beginnings(*steps, digits, "end") for steps in _spelled("_")]
    return re.compile("(?:" + "|".join(forms) + r")\Z", re.IGNORECASE | re.ASCII)


_LOOSE_STEP: Final = r"(?:\\?[_ -]){0,3}\\?"  # a backslash may be the last thing that has come so far
UNFINISHED: Final = _unfinished()
"""Matches, at the end of a text, whatever may still become a placeholder."""
