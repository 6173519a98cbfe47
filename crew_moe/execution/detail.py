"""What may be told of a provider's complaint: short, with no key and nothing of the prompt."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

MAX_CHARS: Final = 200
READ_CHARS: Final = 2_000
WINDOW: Final = 16

_KEY = re.compile(
    r"(?i:bearer\s+\S+)"
    r"|\b(?:sk|pk|rk|gsk|xai|pplx|hf|r8|key|api|token)[-_][\w\-*.]{6,}"
    r"|\bAIza[\w\-]{10,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{8,}"
    r"|\beyJ[\w\-]+\.[\w\-.]+"
    r"|(?<![\w/])(?=[A-Za-z_\-]*\d)(?=[\d_\-]*[A-Za-z])[\w\-]{32,}"
)
_WORD = re.compile(r"[^\W_]+")


def scrub(text: str) -> str:
    """`text` with whatever looks like a key replaced: known prefixes, bearer tokens, long mixed words."""
    return _KEY.sub("[key]", text)


def tell(message: str, private: Iterable[str] = ()) -> str:
    """`message` on one line, scrubbed and cut to 200 characters; empty when it quotes any of `private`.

    Quoting means: 16 letters or digits in a row in common, whatever stands between them (or the whole private text
    when that is shorter). Providers echo parts of a prompt in complaints about it.
    """
    line = scrub(" ".join(message[:READ_CHARS].split()))[:MAX_CHARS]
    squeezed = _squeeze(line)
    return "" if any(_quotes(squeezed, _squeeze(text)) for text in private) else line


def _squeeze(text: str) -> str:
    return "".join(_WORD.findall(text)).casefold()


def _quotes(line: str, private: str) -> bool:
    if len(private) <= WINDOW:
        return bool(private) and private in line
    return any(line[start : start + WINDOW] in private for start in range(len(line) - WINDOW + 1))
