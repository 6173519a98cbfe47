"""Calls of registered services by plain JSON: work that is passed on to them, and looks at their health.

What stands around a model's call stands around these too: breakers, the gate, places, a time limit, a row for each
attempt. Only the text is not looked at: screening reads chats.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from threading import Lock
from typing import Any, Final, TypeVar

from crew_moe.domain.expert import Expert
from crew_moe.domain.host_rules import HostRules
from crew_moe.domain.outcome import Attempt, ErrorClass
from crew_moe.domain.service import Service
from crew_moe.errors import ExecutionFailed, InvalidRequest
from crew_moe.execution.circuits import Circuits
from crew_moe.execution.clearance import Asking, Barrier, Clearance, Withheld
from crew_moe.execution.failure import CallFailed, classify
from crew_moe.execution.guarded import GuardedTransport
from crew_moe.execution.route import Route
from crew_moe.execution.trail import StopReason
from crew_moe.execution.wire import Exchange, Wire
from crew_moe.gating.off_loop import off_loop
from crew_moe.ports import Clock
from crew_moe.state.forking import survives_fork

TIMEOUT_S: Final = 30.0
HEALTH_S: Final = 2.0
CHECKS_AT_ONCE: Final = 32
MAX_DATA: Final = 4 * 1024 * 1024
MAX_ANSWER: Final = 16 * 1024 * 1024
_ASKED: Final = {"User-Agent": "crew-moe", "Accept": "application/json", "Accept-Encoding": "identity"}
_POSTED: Final = {**_ASKED, "Content-Type": "application/json"}
# Why nobody answered; what is not named here: the one that was asked could not.
_REASONS: Final[Mapping[ErrorClass, StopReason]] = {
    ErrorClass.BAD_REQUEST: StopReason.REJECTED,
    ErrorClass.CONTEXT_OVERFLOW: StopReason.REJECTED,
    ErrorClass.REFUSED: StopReason.REJECTED,
    ErrorClass.NO_ROOM: StopReason.ROOM,
    ErrorClass.HELD: StopReason.HELD,
    ErrorClass.DENIED: StopReason.DENIED,
    ErrorClass.OVER_BUDGET: StopReason.BUDGET,
    ErrorClass.RATE_LIMIT: StopReason.ROOM,
    ErrorClass.TIMEOUT: StopReason.DEADLINE,
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxied:
    """What a service answered: its status, and its JSON (None for an answer without a body)."""

    decision_id: str
    service_id: str
    status: int
    data: Any
    latency_ms: float

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "decision_id": self.decision_id,
            "service_id": self.service_id,
            "status": self.status,
            "data": self.data,
            "latency_ms": round(self.latency_ms, 3),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """A call that is under way, and what it has taken."""

    route: Route
    expert: Expert
    exchange: Exchange
    clearance: Clearance
    began: float
    started_at: datetime


class ServiceCalls:
    """Safe for threads and event loops. `blocking` tells that the stores behind wait for a disk or a server."""

    def __init__(
        self,
        *,
        rules: HostRules,
        circuits: Circuits,
        barrier: Barrier,
        clock: Clock,
        report: Callable[[Route, Attempt], None],
        blocking: bool,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._circuits = circuits
        self._barrier = barrier
        self._clock = clock
        self._report = report
        self._blocking = blocking
        self._timeout_s = timeout_s
        self._wire = Wire(transport=partial(GuardedTransport, rules), max_body=MAX_ANSWER)
        self.begin_anew()
        survives_fork(self)

    def begin_anew(self) -> None:
        """In a forked child: calls that were under way are the parent's, as is a lock that it may have held."""
        self._lock = Lock()
        self._under_way: Counter[str] = Counter()

    @property
    def under_way(self) -> Mapping[str, int]:
        """Calls of each service that this process has not seen the end of."""
        return self._under_way

    @staticmethod
    def content(data: Any) -> bytes:
        """Work as it is sent. Raises InvalidRequest for what is no JSON, or too much."""
        try:
            content = json.dumps(data, allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidRequest("is not JSON", where="data") from error
        if len(content) > MAX_DATA:
            raise InvalidRequest(f"is {len(content):,} bytes long, at most {MAX_DATA:,} are passed on", where="data")
        return content

    def post(self, service: Service, content: bytes, route: Route) -> Proxied:
        """Pass work on. Raises ExecutionFailed with the attempt."""
        call = self._begin(service, content, route)
        try:
            result = _result(call.exchange.fetch())
        except BaseException:
            self._give_up(call)
            raise
        return self._end(call, result)

    async def apost(self, service: Service, content: bytes, route: Route) -> Proxied:
        """As `post`, on an event loop; being cancelled closes the connection."""
        call = await self._off_loop(partial(self._begin, service, content, route), undo=self._give_up)
        try:
            result = await _aresult(call.exchange.fetch())
        except BaseException:
            await self._off_loop(partial(self._give_up, call))
            raise
        return await self._off_loop(partial(self._end, call, result))

    def check(self, services: Sequence[Service]) -> dict[str, bool]:
        """Ask those that told where: whether each is well. The answers move their breakers as outcomes do."""
        asked = [(service, service.health_url) for service in services if service.health_url is not None]
        well = {}
        for start in range(0, len(asked), CHECKS_AT_ONCE):
            sent = [(service, self._ask(url)) for service, url in asked[start : start + CHECKS_AT_ONCE]]
            for service, (exchange, answer) in sent:
                failure = _failure(exchange, _result(answer))
                if failure is None:
                    self._circuits.succeeded(service.as_expert())
                else:
                    self._circuits.failed(service.as_expert(), failure.error_class, failure.retry_after_ms)
                well[service.service_id] = failure is None
        return well

    def close(self) -> None:
        """Close all connections; calls in flight fail, and so does every later one."""
        self._wire.close()

    def _ask(self, url: str) -> tuple[Exchange, Future[bytes]]:
        exchange = self._wire.exchange(
            url, headers=_ASKED, content=b"", deadline=time.monotonic() + HEALTH_S, method="GET"
        )
        return exchange, exchange.fetch()

    def _begin(self, service: Service, content: bytes, route: Route) -> _Call:
        """Everything that the call needs. Raises ExecutionFailed where it must not be made."""
        expert, started_at = service.as_expert(), self._clock.now()
        refuse = partial(self._failed, route, expert, started_at, 0.0)
        deadline = time.monotonic() + self._timeout_s
        try:
            exchange = self._wire.exchange(service.endpoint, headers=_POSTED, content=content, deadline=deadline)
        except CallFailed as failure:
            refused = refuse(failure)
        else:
            closed = self._circuits.refusing(expert)
            if closed is not None:
                raise refuse(CallFailed(ErrorClass.CIRCUIT_OPEN, closed, sent=False))
            cleared = self._barrier.clear(self._asking(expert, route))
            if isinstance(cleared, Withheld):
                self._circuits.undecided(expert)
                raise refuse(CallFailed(cleared.error, cleared.detail, sent=False))
            self._count(expert, 1)
            began = self._clock.monotonic()
            return _Call(
                route=route, expert=expert, exchange=exchange, clearance=cleared, began=began, started_at=started_at
            )
        raise refused

    def _end(self, call: _Call, result: bytes | CallFailed) -> Proxied:
        latency_ms = (self._clock.monotonic() - call.began) * 1000.0
        answer = _answer(call.exchange, result)
        self._close(call)
        if isinstance(answer, CallFailed):
            self._circuits.failed(call.expert, answer.error_class, answer.retry_after_ms)
            raise self._failed(call.route, call.expert, call.started_at, latency_ms, answer)
        self._circuits.succeeded(call.expert)
        self._report(call.route, _attempt(call.route, call.expert, call.started_at, latency_ms, None))
        return Proxied(
            decision_id=call.route.decision_id,
            service_id=call.expert.expert_id,
            status=call.exchange.status,
            data=answer,
            latency_ms=latency_ms,
        )

    def _give_up(self, call: _Call) -> None:
        """Nobody waits any more for the answer: it says nothing of the service."""
        call.exchange.close()
        self._circuits.undecided(call.expert)
        self._close(call)

    def _asking(self, expert: Expert, route: Route) -> Asking:
        """Work is not billed by tokens: it asks for a place and the gate's word."""
        return Asking(
            expert=expert,
            errand=route.errand,
            bound=0,
            estimate=0,
            cap=0,
            least=0,
            time_s=self._timeout_s,
            note=route.decision_id,
        )

    def _close(self, call: _Call) -> None:
        """Give back what the call had taken."""
        self._barrier.close(call.clearance, charge_nano=0, usage=None)
        self._count(call.expert, -1)

    def _failed(
        self, route: Route, expert: Expert, started_at: datetime, latency_ms: float, failure: CallFailed
    ) -> ExecutionFailed:
        attempt = _attempt(route, expert, started_at, latency_ms, failure)
        self._report(route, attempt)
        return ExecutionFailed([attempt], reason=_REASONS.get(failure.error_class, StopReason.EXHAUSTED))

    def _count(self, expert: Expert, more: int) -> None:
        with self._lock:
            self._under_way[expert.expert_id] += more
            if self._under_way[expert.expert_id] <= 0:
                del self._under_way[expert.expert_id]

    async def _off_loop(self, act: Callable[[], T], *, undo: Callable[[T], object] | None = None) -> T:
        """`act` where it does not keep the loop from going on."""
        return await off_loop(act, undo=undo) if self._blocking else act()


def _result(answer: Future[bytes]) -> bytes | CallFailed:
    try:
        return answer.result()
    except CallFailed as failure:
        return failure
    except BaseException:
        answer.cancel()  # an interrupt of this thread: the call must not go on behind the caller's back
        raise


async def _aresult(answer: Future[bytes]) -> bytes | CallFailed:
    try:
        return await asyncio.wrap_future(answer)
    except CallFailed as failure:
        return failure


def _failure(exchange: Exchange, result: bytes | CallFailed) -> CallFailed | None:
    """The failure that an answer tells by its status. No word of the service's is quoted: it may repeat what it got."""
    if isinstance(result, CallFailed):
        return result
    status = exchange.status
    if 200 <= status < 300:
        return None
    told = classify(status, exchange.headers, result, now=datetime.now(UTC))
    return CallFailed(told.error_class, f"HTTP {status}", status=status, retry_after_ms=told.retry_after_ms)


def _answer(exchange: Exchange, result: bytes | CallFailed) -> Any:
    """The JSON that came (None for an empty body), or the failure that it tells."""
    failure = _failure(exchange, result)
    if failure is not None:
        return failure
    try:
        return json.loads(result) if isinstance(result, bytes) and result else None
    except (ValueError, RecursionError):
        return CallFailed(ErrorClass.MALFORMED, "an answer that is no JSON", status=exchange.status)


def _attempt(
    route: Route, expert: Expert, started_at: datetime, latency_ms: float, failure: CallFailed | None
) -> Attempt:
    return Attempt(
        number=next(route.numbers),
        expert_id=expert.expert_id,
        ok=failure is None,
        error=None if failure is None else failure.error_class,
        detail="" if failure is None else failure.detail,
        status=None if failure is None else failure.status,
        latency_ms=latency_ms,
        started_at=started_at,
    )
