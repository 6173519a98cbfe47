"""Which attached crew works in this context, and in which run of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final
from uuid import uuid4
from weakref import WeakValueDictionary

from crewai.utilities.crew.crew_context import get_crew_context

if TYPE_CHECKING:
    from crew_moe.crew.dispatcher import Dispatcher
    from crew_moe.crew.watch import Watch

_DISPATCHERS: Final[WeakValueDictionary[str, Dispatcher]] = WeakValueDictionary()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One kickoff, with all that happens in it. `budgets` are the limits in nano-USD that hold here, by the name of the
    run that each is for: the run's own, and those of crews inside it, which spend from both. `watch` looks over it.
    """

    name: str
    budgets: Mapping[str, int] = field(default_factory=dict)
    watch: Watch | None = None

    def joined(self, budget_nano: int | None) -> Run:
        """What a crew with this budget works in, inside this run."""
        if budget_nano is None:
            return self
        whose = uuid4().hex if self.name in self.budgets else self.name
        return replace(self, budgets={**self.budgets, whose: budget_nano})


_RUN: Final[ContextVar[Run | None]] = ContextVar("crew_moe_run", default=None)


@contextmanager
def one_run(run_id: str | None = None, *, budget_nano: int | None = None, watch: Watch | None = None) -> Iterator[str]:
    """Everything that a crew does in here is one run, with one budget: a crew inside a crew's run belongs to it.

    Wrap it around the kickoffs of several crews, of a Flow's for example, and they share the run. `watch` is told of
    its tasks and may stop it.
    """
    run = (_RUN.get() or Run(name=run_id or uuid4().hex)).joined(budget_nano)
    token = _RUN.set(run if watch is None else replace(run, watch=watch))
    try:
        yield run.name
    finally:
        _RUN.reset(token)


def run_now() -> Run | None:
    """The run at work here; None outside of any kickoff."""
    return _RUN.get()


def remember(crew_id: str, dispatcher: Dispatcher) -> None:
    """The crew of this id is routed by `dispatcher`, as long as both live."""
    _DISPATCHERS[crew_id] = dispatcher


def dispatcher_now() -> Dispatcher | None:
    """The dispatcher of the crew whose kickoff runs here; CrewAI carries its id along into threads and tasks."""
    context = get_crew_context()
    return _DISPATCHERS.get(str(context.id)) if context is not None else None
