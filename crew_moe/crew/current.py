"""Which attached crew works in this context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from crewai.utilities.crew.crew_context import get_crew_context

if TYPE_CHECKING:
    from crew_moe.crew.dispatcher import Dispatcher

_DISPATCHERS: Final[WeakValueDictionary[str, Dispatcher]] = WeakValueDictionary()


def remember(crew_id: str, dispatcher: Dispatcher) -> None:
    """The crew of this id is routed by `dispatcher`, as long as both live."""
    _DISPATCHERS[crew_id] = dispatcher


def dispatcher_now() -> Dispatcher | None:
    """The dispatcher of the crew whose kickoff runs here; CrewAI carries its id along into threads and tasks."""
    context = get_crew_context()
    return _DISPATCHERS.get(str(context.id)) if context is not None else None
