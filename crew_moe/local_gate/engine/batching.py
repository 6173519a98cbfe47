"""Puts calls of one hosted expert together: the shell around the line, with a loop, timers and threads.

Everything but the computing happens on one event loop. A batch goes when it is full, when as many calls have come as
lately came together, or when its oldest call has waited `max_wait_ms`: whoever is alone does not wait for company.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Final, Generic, TypeVar

from crew_moe.domain.expert import Tier
from crew_moe.domain.hosting import BatchSpec
from crew_moe.domain.local_work import LocalRefusal, Trouble
from crew_moe.errors import HostFailed
from crew_moe.local_gate.engine.isolation import isolated
from crew_moe.local_gate.engine.pace import Pace
from crew_moe.local_gate.engine.queueing import Batch, Line, Place
from crew_moe.local_gate.engine.refusals import failed, late, overloaded, unavailable
from crew_moe.local_gate.engine.workers import Workers
from crew_moe.ports import Clock

H = TypeVar("H")
T = TypeVar("T")
R = TypeVar("R")

FORGETTING: Final = 0.3
"""How fast the usual company shrinks when fewer come; it grows at once."""
_GONE: Final = HostFailed(Trouble.CANCELLED, "nobody waits for it any more")
_NO_THREAD: Final = HostFailed(Trouble.OUT_OF_MEMORY, "the machine has no thread left for it")


@dataclass(frozen=True, slots=True)
class Member(Generic[T, R]):
    """A call that waits or is computed."""

    place: Place
    item: T
    answer: asyncio.Future[R | LocalRefusal]

    def gone(self) -> bool:
        """In any thread: whether nobody waits for it any more."""
        return self.answer.done()


class Batcher(Generic[H, T, R]):
    """The calls of one hosted expert. In a thread, and blocking, `use()` gives the host, which may take long the first
    time and is not held against the expert's pace, and `run(host, kind, members)` computes a batch.

    `places` is how many batches are computed at once. An expert that takes several calls at once does better with each
    of them as it comes, and gets no batches.
    """

    def __init__(
        self,
        expert: str,
        use: Callable[[], AbstractContextManager[H]],
        run: Callable[[H, str, Sequence[Member[T, R]]], Sequence[R | HostFailed]],
        *,
        spec: BatchSpec,
        clock: Clock,
        workers: Workers,
    ) -> None:
        self.places = 1
        self._expert = expert
        self._use = use
        self._run = run
        self._spec = spec
        self._clock = clock
        self._workers = workers
        self._loop = asyncio.get_running_loop()
        self._line = Line()
        self._members: dict[int, Member[T, R]] = {}
        self._numbers = count()
        self._pace = Pace()
        self._running = 0
        self._next: deque[Sequence[Member[T, R]]] = deque()
        self._sent_at = float("-inf")
        self._came_after = 0
        self._usual = 1.0
        self._timer: asyncio.Handle | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    def __len__(self) -> int:
        """How many calls wait."""
        return len(self._line)

    def expected_wait_s(self, tier: Tier = Tier.BASELINE) -> float:
        """How long a new call would wait before it is computed."""
        calls, tokens = self._line.before(tier)
        computed = min(self._running, self.places)  # and half done, on the average
        batches = calls / self._limits.max_size + self._running - computed / 2
        busy = self._running >= self.places or calls
        return self._pace.expected(batches=batches, tokens=tokens) / self.places if busy else 0.0

    async def ask(self, item: T, *, kind: str, tokens: int, tier: Tier, deadline: float) -> R | LocalRefusal:
        """The answer, or why there is none. A caller that is cancelled leaves the line."""
        if (refusal := self._refusal(tier, deadline)) is not None:
            return refusal
        now = self._clock.monotonic()
        place = Place(
            number=next(self._numbers), kind=kind, tier=tier, tokens=max(1, tokens), since=now, deadline=deadline
        )
        member: Member[T, R] = Member(place, item, self._loop.create_future())
        self._came_after += bool(self._running) and now - self._sent_at <= self._spec.max_wait_ms / 1000.0
        self._line.put(place)
        self._members[place.number] = member
        self._look_soon()
        try:
            return await member.answer
        finally:
            if self._line.remove(place.number):
                del self._members[place.number]

    def widen(self, places: int) -> None:
        """In any thread: so many batches are computed at once from now on; those that wait need wait no longer."""
        if places != self.places:
            self.places = places
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._look_soon)

    async def aclose(self) -> None:
        """Refuse whoever waits, and return when nothing is computed any more. Idempotent."""
        self._closed = True
        for number, member in list(self._members.items()):
            self._line.remove(number)
            _tell(member, unavailable("the local gate closes", self._expert))
        self._members.clear()
        self._forget_timer()
        while (ready := self._popped()) is not None:
            self._running -= 1
            for member in ready:
                _tell(member, unavailable("the local gate closes", self._expert))
        if not self._running:
            self._idle.set()
        await self._idle.wait()

    @property
    def _most(self) -> int:
        """How many batches may have left the line: a full one more where they are computed one by one, so that the
        model needs not wait for the loop between two.
        """
        return 2 if self.places == 1 else self.places

    @property
    def _limits(self) -> BatchSpec:
        return self._spec if self.places == 1 else replace(self._spec, max_size=1)

    def _refusal(self, tier: Tier, deadline: float) -> LocalRefusal | None:
        if self._closed:
            return unavailable("the local gate is closed", self._expert)
        wait_s = self.expected_wait_s(tier)
        left_s = deadline - self._clock.monotonic()
        if left_s <= 0:
            return late(self._expert)
        if len(self._line) >= self._spec.queue:
            return overloaded(self._expert, f"{len(self._line)} calls wait for it", wait_s)
        if wait_s > left_s:
            return overloaded(self._expert, f"the wait of about {wait_s:.1f} s is longer than the call's time", wait_s)
        return None

    def _look_soon(self) -> None:
        """After everybody who comes in this turn of the loop has come; at once where there may be a full batch."""
        if self._running >= self._most:
            return
        if len(self._line) >= self._limits.max_size:
            self._forget_timer()
            self._look()
        elif self._timer is None or isinstance(self._timer, asyncio.TimerHandle):
            self._forget_timer()
            self._timer = self._loop.call_soon(self._look)

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _look(self) -> None:
        """Send what is to go now, and come back when the next may."""
        self._timer = None
        while self._running < self._most and len(self._line) and not self._closed:
            now = self._clock.monotonic()
            batch = self._line.next(now, self._limits)
            if self._running >= self.places and not batch.full:
                return
            wait_s = self._wait_s(batch, now)
            if wait_s > 0:
                self._timer = self._loop.call_later(wait_s, self._look)
                return
            self._send(batch, now)

    def _wait_s(self, batch: Batch, now: float) -> float:
        """How long this batch is to wait for more calls."""
        company = min(self._usual, self._limits.max_size)
        if batch.full or not batch.places or len(batch.places) > company - 0.5:
            return 0.0
        oldest = min(place.since for place in batch.places)
        return oldest + self._spec.max_wait_ms / 1000.0 - now

    def _send(self, batch: Batch, now: float) -> None:
        self._line.take(batch)
        for place in batch.late:
            _tell(self._members.pop(place.number), late(self._expert))
        members = [self._members.pop(place.number) for place in batch.places]
        if not members:
            return
        self._running += 1
        self._idle.clear()
        self._sent_at = now
        self._came_after = 0
        if self._running > self.places:
            self._next.append(members)
        else:
            self._start(members)

    def _start(self, members: Sequence[Member[T, R]]) -> None:
        try:
            self._workers.do(partial(self._compute, members))
        except RuntimeError:
            self._loop.call_soon(self._ended, members, [_NO_THREAD] * len(members), (), False)

    def _compute(self, members: Sequence[Member[T, R]]) -> None:
        """In a thread: this batch, and the next one where that is ready by then."""
        ready: Sequence[Member[T, R]] | None = members
        while ready is not None:
            done, times = ready, list[tuple[int, float]]()
            answers = isolated(partial(self._run_those_left, times), done)
            ready = self._popped()
            with suppress(RuntimeError):  # the loop did not wait for a model that hung
                self._loop.call_soon_threadsafe(self._ended, done, answers, times, ready is not None)

    def _popped(self) -> Sequence[Member[T, R]] | None:
        """The batch that is ready, if there is one. To compute it, only who has ended a batch takes it: its thread, or
        else the loop, once the thread has told that it found none.
        """
        try:
            return self._next.popleft()
        except IndexError:
            return None

    def _run_those_left(
        self, times: list[tuple[int, float]], members: Sequence[Member[T, R]]
    ) -> Sequence[R | HostFailed]:
        """What nobody waits for any more is not computed. Adds tokens and seconds to `times`."""
        wanted = [not member.gone() for member in members]
        left = [member for member, is_wanted in zip(members, wanted, strict=True) if is_wanted]
        if not left:
            return [_GONE] * len(members)
        with ExitStack() as using:
            try:
                host = using.enter_context(self._use())
            except HostFailed as error:  # that concerns everybody: none is tried again
                return [error.with_traceback(None)] * len(members)
            began = self._clock.monotonic()
            made = list(self._run(host, left[0].place.kind, left))
            times.append((sum(member.place.tokens for member in left), self._clock.monotonic() - began))
        if len(made) != len(left):
            raise HostFailed(Trouble.MODEL_FAILED, f"it gave {len(made)} answers for {len(left)} texts")
        answers = iter(made)
        return [next(answers) if is_wanted else _GONE for is_wanted in wanted]

    def _ended(
        self,
        members: Sequence[Member[T, R]],
        answers: Sequence[R | HostFailed],
        times: Sequence[tuple[int, float]],
        goes_on: bool,
    ) -> None:
        self._running -= 1
        for tokens, seconds in times:
            self._pace.saw(tokens, seconds)
        together = min(len(members) + self._came_after, self._spec.max_size)
        self._usual = max(together, self._usual + FORGETTING * (together - self._usual))
        for member, answer in zip(members, answers, strict=True):
            _tell(member, failed(self._expert, answer) if isinstance(answer, HostFailed) else answer)
        if not goes_on and (ready := self._popped()) is not None:
            self._start(ready)
        if not self._running:
            self._idle.set()
        self._look_soon()


def _tell(member: Member[T, R], answer: R | LocalRefusal) -> None:
    if not member.answer.done():
        member.answer.set_result(answer)
