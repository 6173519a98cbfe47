"""The code blocks of a Markdown document."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
DOCUMENTS: Final = ("README.md", "RUNBOOK.md")
_BLOCK: Final = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROMPT: Final = "$ "


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block, its language, what stands behind the language (`exit=1`), and where it begins."""

    language: str
    info: str
    text: str
    document: str
    line: int

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command of a console block and the output that the document shows for it, empty when it shows none."""

    arguments: tuple[str, ...]
    shown: str


def blocks(document: str, language: str) -> list[Block]:
    """The blocks of one language, in their order."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [
        Block(
            language=found[1],
            info=found[2].strip(),
            text=found[3],
            document=document,
            line=text.count("\n", 0, found.start()) + 1,
        )
        for found in _BLOCK.finditer(text)
        if found[1] == language
    ]


def commands(block: Block) -> Iterator[Command]:
    """What a console block runs, line by line."""
    arguments: tuple[str, ...] = ()
    shown: list[str] = []
    for line in block.text.splitlines():
        if not line.startswith(_PROMPT):
            shown.append(line)
            continue
        if arguments:
            yield Command(arguments=arguments, shown="\n".join(shown))
        arguments, shown = tuple(shlex.split(line.removeprefix(_PROMPT), comments=True)), []
    yield Command(arguments=arguments, shown="\n".join(shown))
