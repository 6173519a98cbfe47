"""Values that the tests of execution start from, and a client that plays what it is told."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from crew_moe.clock import ManualClock
from crew_moe.domain.budget import BudgetPolicy, Ceiling
from crew_moe.domain.chat import ChatChunk, ChatReply, ChatRequest
from crew_moe.domain.expert import Capability, Expert, Parameter, Status, Tier, Transport
from crew_moe.domain.money import to_nano
from crew_moe.domain.outcome import Attempt, ErrorClass
from crew_moe.domain.policy import BreakerPolicy, Limits
from crew_moe.domain.registry import Registry
from crew_moe.domain.usage import Usage
from crew_moe.execution.cashier import Cashier
from crew_moe.execution.clearance import Barrier
from crew_moe.execution.errand import Errand
from crew_moe.execution.executor import Executor, Route
from crew_moe.execution.failure import CallFailed
from crew_moe.execution.transports import Transports
from crew_moe.execution.turnstile import Turnstile
from crew_moe.gating.approval import Desk
from crew_moe.gating.consequence import OnHoldTimeout
from crew_moe.gating.gate import Check, Gate, Metered
from crew_moe.gating.gatekeeper import Gatekeeper
from crew_moe.state.memory.approvals import MemoryApprovals
from crew_moe.state.memory.ledger import MemoryLedger
from crew_moe.state.memory.log import MemoryLog
from crew_moe.state.memory.meters import MemoryMeters
from crew_moe.state.memory.store import MemoryStore
from crew_moe.telemetry.events import Recorder

TASK: Final = "task:t1"
NOW: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ALL: Final = frozenset({Parameter.TEMPERATURE, Parameter.STOP, Parameter.JSON_SCHEMA, Parameter.SYSTEM, Parameter.SEED})
LIMITS: Final = Limits(
    max_attempts=6,
    fallbacks=3,
    fallback_margin=25.0,
    max_retry_after_ms=5_000.0,
    max_queue_ms=0.0,
    default_max_output_tokens=100,
    min_output_tokens=10,
)
BREAKER: Final = BreakerPolicy(failures=3, ejection_ms=60_000, max_ejection_ms=900_000, backoff=2.0, probes=1)
CHAT: Final = ChatRequest(messages=({"role": "user", "content": "What is the capital of France?"},))
EXPERT: Final = Expert(
    expert_id="a",
    provider="one",
    provider_model="a-live",
    tier=Tier.BASELINE,
    quality=0.9,
    input_usd_per_mtok=Decimal("1"),
    output_usd_per_mtok=Decimal("10"),
    context_window=100_000,
    max_output_tokens=4_000,
    latency_p50_ms=500.0,
    capabilities=frozenset({Capability.TOOLS, Capability.JSON, Capability.STREAMING}),
    regions=frozenset({"eu"}),
    moderated=True,
    enabled=True,
    status=Status.ACTIVE,
    transport=Transport.OPENAI,
    base_url="http://127.0.0.1:9/v1",
    base_url_env=None,
    api_key_env=None,
    parameters=ALL,
    fallback=None,
    reliability=0.99,
    named_only=False,
    source="made for these tests",
    checked_on=date(2026, 3, 1),
)
"""Costs 0.001 US$ per 1,000 tokens in and 0.01 out: 1,000 and 10,000 nano-USD a token."""


def expert(expert_id: str, provider: str = "one", **fields: Any) -> Expert:
    """EXPERT under another name."""
    return replace(EXPERT, expert_id=expert_id, provider=provider, provider_model=f"{expert_id}-live", **fields)


EXPERTS: Final = (expert("a", "one"), expert("b", "two"), expert("c", "three"))


def reply(text: str = "Paris.", **fields: Any) -> ChatReply:
    """An answer of 20 tokens in and 5 out."""
    return ChatReply(text=text, usage=Usage(input_tokens=20, output_tokens=5), **fields)


def failure(error: ErrorClass, **fields: Any) -> CallFailed:
    return CallFailed(error, "as told", **fields)


Played = ChatReply | CallFailed | BaseException | Callable[[], ChatReply]


@dataclass(slots=True)
class Player:
    """Implements ports.LLMClient: plays each expert's queue in order, then answers. Streams word by word.

    A failure in a stream comes after its `cut` words, when it has some.
    """

    script: dict[str, list[Played]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    requests: list[ChatRequest] = field(default_factory=list)
    timeouts_s: list[float] = field(default_factory=list)
    cut: dict[str, tuple[str, ...]] = field(default_factory=dict)
    closed: bool = False

    def call(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply:
        self.calls.append(expert.expert_id)
        self.requests.append(request)
        self.timeouts_s.append(timeout_s)
        queue = deque(self.script.get(expert.expert_id, ()))
        played = queue.popleft() if queue else reply()
        self.script[expert.expert_id] = list(queue)
        if isinstance(played, BaseException):
            raise played
        return played if isinstance(played, ChatReply) else played()

    async def acall(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply:
        return self.call(expert, request, timeout_s=timeout_s)

    def stream(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> Iterator[ChatChunk]:
        for word in self.cut.get(expert.expert_id, ()):
            yield ChatChunk(text=word)
        whole = self.call(expert, request, timeout_s=timeout_s)
        for word in whole.text.split(" "):
            yield ChatChunk(text=word)
        yield ChatChunk(reply=whole)

    async def astream(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> AsyncIterator[ChatChunk]:
        for chunk in self.stream(expert, request, timeout_s=timeout_s):
            yield chunk

    def close(self) -> None:
        self.closed = True


@dataclass(slots=True)
class Stage:
    """An executor over a Player, with everything around it at hand. Sleeping moves the clock."""

    player: Player
    experts: tuple[Expert, ...] = EXPERTS
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))
    state: MemoryStore = field(default_factory=lambda: MemoryStore(BREAKER))
    sink: Recorder = field(default_factory=Recorder)
    rows: list[Attempt] = field(default_factory=list)
    slept_s: list[float] = field(default_factory=list)
    limits: Limits = LIMITS
    budgets: BudgetPolicy = field(default_factory=BudgetPolicy)
    checks: tuple[Check | Metered, ...] = ()
    on_hold_timeout: OnHoldTimeout = OnHoldTimeout.DOWNGRADE
    ledger: MemoryLedger = field(init=False)
    meters: MemoryMeters = field(init=False)
    desk: Desk = field(init=False)
    executor: Executor = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = MemoryLedger(clock=self.clock)
        self.meters = MemoryMeters()
        self.desk = Desk(MemoryApprovals(), clock=self.clock, log=MemoryLog(), sink=self.sink)
        self.executor = Executor(
            registry=lambda: Registry(experts=self.experts),
            client=Transports({Transport.OPENAI: self.player}),
            state=self.state,
            barrier=self.barrier(),
            limits=self.limits,
            clock=self.clock,
            report=lambda _route, row: self.rows.append(row),
            sink=self.sink,
            sleep=self.sleep,
            asleep=self.asleep,
        )

    def barrier(self) -> Barrier:
        """What clears the calls: memory stores, and the gate with the stage's checks."""
        return Barrier(
            cashier=Cashier(ledger=self.ledger, policy=self.budgets, clock=self.clock, sink=self.sink),
            turnstile=Turnstile(meters=self.meters, clock=self.clock, sink=self.sink),
            gatekeeper=Gatekeeper(
                Gate(self.checks),
                meters=self.meters,
                desk=self.desk,
                clock=self.clock,
                sink=self.sink,
                on_hold_timeout=self.on_hold_timeout,
            ),
            clock=self.clock,
        )

    def spent(self, scope: str = TASK) -> int:
        """What a scope has settled and holds, in nano-USD."""
        status = self.ledger.status(scope)
        return to_nano(status.settled_usd + status.reserved_usd + status.overrun_usd)

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.clock.advance(seconds)

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)


def stage(script: dict[str, list[Played]] | None = None, **fields: Any) -> Stage:
    return Stage(player=Player(script=script or {}), **fields)


def budget(nano: int, *, scope: str = TASK, **fields: Any) -> Errand:
    """The errand of a task that may cost so much."""
    return Errand(scopes=(scope,), ceilings={scope: Ceiling(limit_nano=nano)}, **fields)


def route(*experts: str, budget_nano: int | None = None, **fields: Any) -> Route:
    """From a over b to c, with six attempts of ten seconds."""
    given = {"max_attempts": 6, "attempt_timeout_ms": 10_000.0, **fields}
    if budget_nano is not None:
        given["errand"] = budget(budget_nano)
    return Route(decision_id="d1", task_type="testing", experts=experts or ("a", "b", "c"), **given)


def trace(rows: list[Attempt] | tuple[Attempt, ...]) -> list[tuple[str, str | None]]:
    """Who was asked, and what came of it."""
    return [(row.expert_id, row.error.value if row.error else None) for row in rows]
