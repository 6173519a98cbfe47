"""The seams: every protocol behind which an implementation may be exchanged.

Each has an in-memory implementation that production uses too, and one contract suite in tests/contracts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from crew_moe.domain.approval import Approval
from crew_moe.domain.budget import (
    Ceiling,
    OpenCharge,
    Refusal,
    Reservation,
    ScopeStatus,
    Settlement,
    Window,
)
from crew_moe.domain.chat import ChatChunk, ChatReply, ChatRequest
from crew_moe.domain.decision import Candidate, Pick
from crew_moe.domain.expert import Expert
from crew_moe.domain.features import Features
from crew_moe.domain.feed import Cursor, Delivery, Ended, FeedEvent
from crew_moe.domain.happening import Happening
from crew_moe.domain.local_work import HostHealth, Made, Work
from crew_moe.domain.meter import Busy, Demand, MeterStatus, Passage, Told
from crew_moe.domain.outcome import Sample
from crew_moe.domain.policy import Policy
from crew_moe.domain.screening import Concern, Finding, Language
from crew_moe.domain.service import Service
from crew_moe.domain.snapshot import Breaker, Performance, Pin
from crew_moe.errors import HostFailed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> datetime:
        """Aware UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back, for measuring."""


class EventSink(Protocol):
    """Takes structured events (switches, breaker changes, refusals); must not raise."""

    def emit(self, event: str, /, **fields: Any) -> None: ...


class Watcher(Protocol):
    """Is told what a router does, by the thread that does it: it must neither wait nor raise."""

    def saw(self, happening: Happening) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyContext:
    """What a strategy may look at beside the candidates."""

    features: Features
    policy: Policy
    tier: str | None = None
    tenant: str | None = None
    session_key: str | None = None
    load: Mapping[str, float] = field(default_factory=dict)
    now: datetime


@runtime_checkable
class Strategy(Protocol):
    """Ranks eligible experts and picks one; pure but for `rng`, which is passed in."""

    def select(self, context: StrategyContext, candidates: Sequence[Candidate], rng: Random) -> Pick: ...


class StateStore(Protocol):
    """Performance, breakers, pins and registered services, shared by all who open the same store.

    Updates are atomic; reads give a consistent copy. `version` changes whenever a decision could change: it is
    cheap enough to ask before every snapshot.
    """

    def version(self) -> int: ...

    def record(self, sample: Sample, now: datetime, *, once: str | None = None) -> bool:
        """Fold one observation in; False when `once` was seen before (the observation is not counted twice)."""

    def performance(self, now: datetime) -> Mapping[tuple[str, str], Performance]:
        """Records by (expert id, task type), expired ones left out."""

    def admit(self, key: str, now: datetime) -> bool:
        """Whether a call may pass this breaker now; takes a probe when half-open."""

    def succeed(self, key: str, now: datetime) -> Breaker: ...

    def fail(self, key: str, now: datetime, *, eject_ms: float | None = None) -> Breaker:
        """Count a failure; `eject_ms` opens at once for that long (a Retry-After), never shortening an ejection."""

    def cancel(self, key: str, now: datetime) -> Breaker:
        """Give a probe back that was neither a success nor a failure."""

    def breakers(self) -> Mapping[str, Breaker]: ...

    def pin(self, pin: Pin) -> None: ...

    def unpin(self, *, expert_id: str | None, task_type: str | None, task: str | None, tenant: str | None) -> int:
        """Remove the pins whose fields equal all those given (None: any); how many went."""

    def pins(self, now: datetime) -> tuple[Pin, ...]: ...

    def register(self, service: Service) -> bool:
        """Take a service, in the place of one of the same id; False, and nothing changes, where that belongs to
        another tenant.
        """

    def unregister(self, service_id: str) -> bool:
        """Forget a service; whether there was one."""

    def reweigh(self, weights: Mapping[str, float]) -> bool:
        """Set the weights of those services that there are, all at once; whether that changed any."""

    def services(self) -> tuple[Service, ...]:
        """All registered services, by id."""

    def close(self) -> None: ...


Amount = str | int | float | Decimal
"""US$; read by domain.money.parse_usd."""


class Ledger(Protocol):
    """Money of scopes: reserved before a call, settled after it. One store per implementation, one contract for all.

    For every scope with a limit, at every instant and over all who open the same store: settled + reserved <= limit.
    Every method is atomic. A lease that ends unsettled is charged in full at once, for whoever looks. Raises
    InvalidInput for a malformed scope or amount, StateError when the store can't be reached.
    """

    def set_limit(self, scope: str, *, usd: Amount | None, window: Window | str | None = None) -> ScopeStatus:
        """Give a scope a limit of its own; None takes it away. The window stays what it was (first: total)."""

    def top_up(self, scope: str, *, usd: Amount, adopt: bool = False) -> ScopeStatus:
        """Raise the limit of a scope by an amount. Raises InvalidInput for a scope without a limit of its own; with
        `adopt` it takes the last ceiling that a call brought along for its own, and raises that.
        """

    def reserve(
        self,
        scopes: Sequence[str],
        *,
        usd: Amount,
        lease_s: float = 60.0,
        ceilings: Mapping[str, Ceiling] | None = None,
        note: str = "",
    ) -> Reservation | Refusal:
        """Put an amount aside in all scopes at once, or in none. An amount of 0 is never refused."""

    def reserve_group(
        self,
        scopes: Sequence[str],
        *,
        usd: Sequence[Amount],
        lease_s: float = 60.0,
        ceilings: Mapping[str, Ceiling] | None = None,
        note: str = "",
    ) -> tuple[Reservation, ...] | Refusal:
        """One reservation for each amount, or none at all: for experts that answer side by side."""

    def settle(self, reservation_id: str, *, usd: Amount) -> Settlement:
        """Charge what it was and give the rest back, in the windows that opened it. The first settlement holds; one
        that comes after the lease ended puts the automatic charge right. Raises UnknownReservation.
        """

    def release(self, reservation_id: str) -> Settlement:
        """Give all of it back: the call was never charged for."""

    def renew(self, reservation_id: str, *, lease_s: float = 60.0) -> Reservation:
        """A longer lease, counted from now; never a shorter one. Raises InvalidInput when it has ended."""

    def charge(
        self,
        charge_id: str,
        scopes: Sequence[str],
        *,
        usd: Amount,
        ceilings: Mapping[str, Ceiling] | None = None,
        note: str = "",
    ) -> Settlement:
        """Book what somebody else spent already; once per id. What passes a limit is overrun."""

    def status(self, scope: str) -> ScopeStatus: ...

    def statuses(self) -> Sequence[ScopeStatus]:
        """Every scope that the store knows, by name."""

    def open_charges(self, scope: str | None = None) -> Sequence[OpenCharge]:
        """Reservations that are held or lapsed, oldest first."""

    def reconcile(self, scope: str | None = None) -> Sequence[ScopeStatus]:
        """Somebody has looked: lift the block that an overrun put on a scope (None: on all, and reopen a store that
        lost data). What was spent stays spent; gives the scopes that were blocked.
        """

    def close(self) -> None: ...


class Meters(Protocol):
    """Token buckets and places, shared by all who open the same store; for providers' limits and for cooldowns."""

    def take(self, demands: Sequence[Demand], now: datetime, *, lease_s: float = 600.0) -> Passage | Busy:
        """Take from all meters at once, or from none. Places whose lease ends are free again."""

    def give_back(self, passage_id: str, now: datetime, *, used: Mapping[str, float] | None = None) -> None:
        """Free the places; where `used` tells the true amount of a rate, return the rest, or take what was more.
        An unknown or ended passage is left alone.
        """

    def tell(self, key: str, told: Sequence[Told], now: datetime) -> None:
        """Take what a provider said of its limits: levels only ever fall by it, a capacity is adopted."""

    def close_until(self, key: str, until: datetime, now: datetime) -> None:
        """Nothing passes before `until`; never shortens."""

    def busy(self, now: datetime, *, kind: str) -> Mapping[str, datetime]:
        """Meters of one kind (what stands before the first colon of a key) that not even one unit can pass now, and
        when each has room again. Cheap enough to be asked for every snapshot.
        """

    def status(self, key: str, now: datetime) -> MeterStatus: ...

    def close(self) -> None: ...


class Approvals(Protocol):
    """Questions to people and their answers. Transitions are atomic: of two answers at once, the first one holds."""

    def ask(self, approval: Approval) -> Approval:
        """Store a pending one; one that is open (pending or approved) for the same digest and expert is given back
        instead, if its price covers this one.
        """

    def get(self, approval_id: str, now: datetime) -> Approval | None: ...

    def answer(self, approval_id: str, *, approve: bool, by: str, why: str, now: datetime) -> Approval | None:
        """The approval after it; unchanged where it was answered, used or expired before. None: unknown."""

    def use(self, approval_id: str, *, digest: str, expert_id: str, max_cost_nano: int, now: datetime) -> bool:
        """Whether it was approved for exactly this, and is used up by it now."""

    def pending(self, now: datetime) -> Sequence[Approval]:
        """Those that wait for an answer, oldest first."""

    def close(self) -> None: ...


class DecisionLog(Protocol):
    """Append-only record of decisions. `append` never blocks on storage; rows may be read at once."""

    def append(self, decision_id: str, row: Callable[[], Mapping[str, Any]], *, decisions: int = 1) -> None:
        """Take one record; `row` builds its JSON-ready mapping later, on the writer's thread or for a reader.

        `decisions` is how many it holds: what a log keeps in memory is bounded by them, not by records.
        """

    def get(self, decision_id: str) -> Mapping[str, Any] | None: ...

    def tail(self, count: int) -> Sequence[Mapping[str, Any]]:
        """The newest rows, newest first."""

    def flush(self) -> None:
        """Return when every row taken so far is stored."""

    def close(self) -> None: ...


class Subscription(Protocol):
    """The events of a feed, as they come. Iteration stops when it is closed, or when `ended` says why it was ended."""

    @property
    def cursor(self) -> Cursor:
        """The place up to which everything was handed out."""

    @property
    def ended(self) -> Ended | None: ...

    def __aiter__(self) -> AsyncIterator[Delivery]: ...

    def close(self) -> None: ...


class Feed(Protocol):
    """Live events for those who look on, in one order for all of them; one contract for all who implement it.

    The newest ones are kept, so that a reader can come back to its cursor; what it missed for good is told as a `gap`.
    A reader that is too slow is ended, and holds up nobody. Telemetry fails open: what could not be published is
    counted in `dropped`.
    """

    def publish(self, events: Sequence[FeedEvent]) -> None:
        """Tell all readers; never waits and never raises."""

    async def subscribe(self, cursor: str | None = None) -> Subscription:
        """Everything from now on, or after `cursor`. Raises InvalidRequest for what is no cursor of this feed, and
        StateError where the feed can't be read.
        """

    @property
    def readers(self) -> int:
        """How many subscriptions are open in this process."""

    @property
    def dropped(self) -> int: ...

    def close(self) -> None:
        """End all subscriptions of this process; idempotent."""


class LLMClient(Protocol):
    """Calls one expert once: no retry, no fallback. Raises CallFailed (execution.failure), never anything else."""

    def call(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply: ...

    async def acall(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply: ...

    def stream(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> Iterator[ChatChunk]: ...

    def astream(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> AsyncIterator[ChatChunk]: ...

    def close(self) -> None: ...


class Host(Protocol):
    """One self-hosted expert: a model and how it is asked. Blocking; called from threads, and never before `load`.

    Calls of one host come one after another unless it says that it is `concurrent`. Whatever goes wrong is raised as
    HostFailed, or stands in the list of answers in the place of the one that it concerns.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """Changes with the weights and with everything else that an answer depends on; "" before `load`."""

    @property
    def takes_chats(self) -> bool:
        """Whether it answers a whole chat, with tools and response formats, and not only a text."""

    @property
    def concurrent(self) -> int:
        """How many calls it takes at once."""

    def load(self) -> None:
        """Get ready; idempotent. Raises HostFailed."""

    def process(self, works: Sequence[Work]) -> Sequence[Made | HostFailed]:
        """An answer for each, in their order. Raises HostFailed where none of them can be done."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One row for each text, of length 1: (texts, dimensions). Raises HostFailed."""

    def stream(self, work: Work) -> Iterator[str]:
        """The answer in pieces as it is made. Raises HostFailed."""

    def health(self) -> HostHealth:
        """How it is, without loading anything; never raises."""

    def unload(self) -> None:
        """Give the memory back; idempotent. A later `load` makes it ready again."""


class Detector(Protocol):
    """Looks for one concern in one text; pure, safe for threads, linear in the text's length."""

    @property
    def concern(self) -> Concern: ...

    @property
    def version(self) -> str: ...

    def assess(self, text: str) -> Finding: ...


class LanguageDetector(Protocol):
    """Tells the language of a text; None where the text is too short or too mixed to tell."""

    def detect(self, text: str) -> Language | None: ...
