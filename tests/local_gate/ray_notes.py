"""What hosts on a Ray cluster noted, and the addresses of its nodes; needs no Ray."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HEAD, SECOND = "127.0.0.2", "127.0.0.3"  # not 127.0.0.1, which Ray takes for "the address of this machine"


@dataclass(frozen=True, slots=True)
class Note:
    """A line on the paper: what was done with a text, by which process, where."""

    what: str
    node: str
    process: str
    text: str


def read(paper: Path) -> list[Note]:
    lines = paper.read_text(encoding="utf-8").splitlines() if paper.exists() else []
    return [Note(*line.split(" ", 3)) for line in lines]
