"""One call of a tool: who calls, what over, and how to hear of its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING

from crew_moe.auth.caller import Caller
from crew_moe.surface.operations import Operations

if TYPE_CHECKING:
    from crew_moe.crew.project import Project

Tell = Callable[[float, float | None, str], None]


def _tell_nobody(done: float, total: float | None, message: str) -> None:
    """The client asked for no progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """`project` is the crew that may be run, None where none may be. `stopped` is set when the client no
    longer waits; `tell` reports progress: what is done, of how much, and what it was.
    """

    operations: Operations
    caller: Caller
    project: Project | None = None
    stopped: Event = field(default_factory=Event)
    tell: Tell = _tell_nobody
