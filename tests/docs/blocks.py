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
OURS: Final = "crew-moe"
ADDRESS: Final = "http://localhost:8005"
LOCAL_ADDRESS: Final = "http://localhost:8000"
KEY: Final = "ROUTER_KEY"
"""The variable in which readers have their key."""


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

    line: str
    shown: str

    @property
    def arguments(self) -> tuple[str, ...]:
        return tuple(shlex.split(self.line, comments=True))

    @property
    def is_plain(self) -> bool:
        """Whether it is a command of ours alone, without anything that a shell would have to do."""
        return self.arguments[0] == OURS and not set(self.line) & set("<>|$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where services are: one that is open to everybody on this machine, one that wants a key, and a local gate's."""

    everybody: str
    guarded: str
    local: str
    key: str

    def put_into(self, text: str, *, guarded: bool = False) -> str:
        """The text of a block with the address of a service that runs, in the place of the one that readers see."""
        text = text.replace(LOCAL_ADDRESS, self.local)
        return text.replace(ADDRESS, self.guarded if guarded or KEY in text else self.everybody)


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
    told: str | None = None
    shown: list[str] = []
    for line in block.text.splitlines():
        if not line.startswith(_PROMPT):
            shown.append(line)
            continue
        if told is not None:
            yield Command(line=told, shown="\n".join(shown))
        told, shown = line.removeprefix(_PROMPT), []
    assert told is not None, f"{block} runs nothing"
    yield Command(line=told, shown="\n".join(shown))
