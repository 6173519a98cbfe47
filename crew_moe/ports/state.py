"""What was learned, decided and asked, shared by all who open the same store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from crew_moe.domain.approval import Approval
from crew_moe.domain.outcome import Sample
from crew_moe.domain.page import Page
from crew_moe.domain.service import Service
from crew_moe.domain.snapshot import Breaker, Performance, Pin


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


class PageStore(Protocol):
    """Small documents by name, shared by all who open the same store; changed by compare-and-swap.

    Every method is atomic. `now` is aware UTC; a page whose time is over is as one that never was. Raises StateError
    when the store can't be reached.
    """

    def version(self) -> int:
        """Changes whenever a page does; cheap enough to ask before every decision, unless the store is `remote`."""

    def read(self, name: str, now: datetime) -> Page | None: ...

    def pages(self, prefix: str, now: datetime) -> Sequence[Page]:
        """All pages whose names begin so, by name."""

    def write(self, name: str, content: bytes, now: datetime, *, over: int, keep_s: float | None = None) -> bool:
        """Put a page in the place of the one whose version is `over` (0: there was none), for `keep_s` seconds (None:
        for good). False, and nothing changes, where it is another one by now.
        """

    def erase(self, prefix: str) -> int:
        """Forget all pages whose names begin so; how many there were."""

    def close(self) -> None: ...
