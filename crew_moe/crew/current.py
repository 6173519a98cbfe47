"""Which attached crew works in this context, and in which run of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final
from uuid import uuid4
from weakref import WeakValueDictionary

from crewai.utilities.crew.crew_context import get_crew_context

if TYPE_CHECKING:
    from crew_moe.crew.dispatcher import Dispatcher

_DISPATCHERS: Final[WeakValueDictionary[str, Dispatcher]] = WeakValueDictionary()

_RUN: Final[ContextVar[str | None]] = ContextVar("crew_moe_run", default=None)


@contextmanager
def one_run(run_id: str | None = None) -> Iterator[str]:
    """Everything that a crew does in here is one run, with one budget: a crew inside a crew's run belongs to it.

    Wrap it around the kickoffs of several crews, of a Flow's for example, and they share the run.
    """
    outer = _RUN.get()
    if outer is not None:
        yield outer
        return
    name = run_id or uuid4().hex
    token = _RUN.set(name)
    try:
        yield name
    finally:
        _RUN.reset(token)


def run_now() -> str | None:
    """The run at work here; None outside of any kickoff."""
    return _RUN.get()


def remember(crew_id: str, dispatcher: Dispatcher) -> None:
    """The crew of this id is routed by `dispatcher`, as long as both live."""
    _DISPATCHERS[crew_id] = dispatcher


def dispatcher_now() -> Dispatcher | None:
    """The dispatcher of the crew whose kickoff runs here; CrewAI carries its id along into threads and tasks."""
    context = get_crew_context()
    return _DISPATCHERS.get(str(context.id)) if context is not None else None
