"""The two breakers that stand before every call: the provider's and the expert's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol

from crew_moe.domain.expert import Expert
from crew_moe.domain.outcome import ErrorClass
from crew_moe.domain.snapshot import Breaker, Circuit
from crew_moe.errors import StateError
from crew_moe.execution.trail import REACTIONS, SETUP_EJECTION_MS, Blame
from crew_moe.ports import Clock, EventSink, StateStore
from crew_moe.state.breaker import admits, expert_key, provider_key

CLOSED: Final = Breaker()
NO_BREAKERS: Final[Mapping[str, Breaker]] = {}


class LastKnown(Protocol):
    """What was read of the store last, and whether it can't be read any more."""

    @property
    def lost(self) -> bool: ...

    @property
    def breakers(self) -> Mapping[str, Breaker]: ...


class Changes:
    """Tells the sink of breakers that change, each change once: by what is `known` of them, and what was told since."""

    def __init__(self, sink: EventSink, known: LastKnown | None) -> None:
        self._sink = sink
        self._known = known
        self._told: dict[str, tuple[Mapping[str, Breaker], Circuit]] = {}

    def saw(self, key: str, after: Breaker) -> None:
        """A breaker as a signal left it."""
        breakers = NO_BREAKERS if self._known is None else self._known.breakers
        if after.state is self._before(key, breakers):
            return
        self._told[key] = (breakers, after.state)
        match after.state:
            case Circuit.OPEN:
                self._sink.emit("circuit_open", key=key, until=after.until, failures=after.failures)
            case Circuit.HALF_OPEN:
                self._sink.emit("circuit_half_open", key=key)
            case Circuit.CLOSED:
                self._sink.emit("circuit_closed", key=key)

    def admitted(self, key: str) -> None:
        """A call may pass; one that was open lends a probe."""
        breakers = NO_BREAKERS if self._known is None else self._known.breakers
        if self._before(key, breakers) is Circuit.OPEN:
            self.saw(key, replace(breakers.get(key, CLOSED), state=Circuit.HALF_OPEN, until=None))

    def _before(self, key: str, breakers: Mapping[str, Breaker]) -> Circuit:
        seen, state = self._told.get(key, (None, Circuit.CLOSED))
        return state if seen is breakers else breakers.get(key, CLOSED).state


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuits:
    """Asks before a call and tells after it, by the table of reactions.

    A store that can't be reached is stood in for by the breakers that were known last (without them it raises
    StateError), and is not asked again while it is `lost`. The loss of an observation is an event and no more.
    """

    state: StateStore
    clock: Clock
    sink: EventSink
    known: LastKnown | None = None
    changes: Changes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "changes", Changes(self.sink, self.known))

    def refusing(self, expert: Expert) -> str | None:
        """The key of the breaker that lets no call pass; None when both do (half-open, each has lent a probe)."""
        if self.known is None:
            return self._refusing(expert)
        if not self.known.lost:
            try:
                return self._refusing(expert)
            except StateError as error:
                self.sink.emit("state_failed", key=expert_key(expert.expert_id), error=str(error))
        breakers, now = self.known.breakers, self.clock.now()
        return next((key for key in _keys(expert) if not admits(breakers.get(key, CLOSED), now)), None)

    def _refusing(self, expert: Expert) -> str | None:
        now = self.clock.now()
        provider, own = _keys(expert)
        if not self.state.admit(provider, now):
            return provider
        if not self.state.admit(own, now):
            self.state.cancel(provider, now)
            return own
        self.changes.admitted(provider)
        self.changes.admitted(own)
        return None

    def succeeded(self, expert: Expert) -> None:
        for key in _keys(expert):
            self._tell(key, self.state.succeed)

    def failed(self, expert: Expert, error: ErrorClass, retry_after_ms: float | None) -> None:
        """Count a failure where it counts; `retry_after_ms` ejects the expert for that long.

        Experts of one's own share no provider, whatever they are called: one that fails says nothing of the others.
        """
        reaction = REACTIONS[error]
        provider, own = _keys(expert)
        self._blame(provider, Blame.NONE if expert.is_local else reaction.provider, None)
        self._blame(own, reaction.expert, SETUP_EJECTION_MS if reaction.expert is Blame.EJECT else retry_after_ms)

    def undecided(self, expert: Expert) -> None:
        """Give the probes back: the call told nothing."""
        for key in _keys(expert):
            self._tell(key, self.state.cancel)

    def _blame(self, key: str, blame: Blame, eject_ms: float | None) -> None:
        if blame is Blame.NONE:
            self._tell(key, self.state.cancel)
            return
        self._tell(key, lambda at, now: self.state.fail(at, now, eject_ms=eject_ms))

    def _tell(self, key: str, update: Callable[[str, datetime], Breaker]) -> None:
        if self.known is not None and self.known.lost:
            return
        try:
            self.changes.saw(key, update(key, self.clock.now()))
        except StateError as error:
            self.sink.emit("state_failed", key=key, error=str(error))


def _keys(expert: Expert) -> tuple[str, str]:
    return provider_key(expert.provider), expert_key(expert.expert_id)
