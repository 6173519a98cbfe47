"""What the local gate does with a request, on its own event loop: who is asked, what is remembered, who comes next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import Final, Protocol

from crew_moe.domain.expert import Tier
from crew_moe.domain.hosting import HostKind, LocalPlan
from crew_moe.domain.local_work import Asked, LocalRefusal, Processed, Trouble, Work
from crew_moe.errors import HostFailed
from crew_moe.local_gate.engine.cache import MAX_BYTES, Lru, text_digest
from crew_moe.local_gate.engine.checks import complaint_about, is_time, unknown
from crew_moe.local_gate.engine.lane import WARM, Answer, Job, Lane, Pool
from crew_moe.local_gate.engine.notes import Notes
from crew_moe.local_gate.engine.pipe import Pipe
from crew_moe.local_gate.engine.recall import Recall
from crew_moe.local_gate.engine.refusals import failed, late, unavailable, wrong
from crew_moe.local_gate.engine.relief import is_busy, lighter, relieved
from crew_moe.local_gate.engine.request import Request
from crew_moe.local_gate.engine.workers import Workers
from crew_moe.local_gate.features import TextFeatures
from crew_moe.local_gate.gate.choice import GateChoice
from crew_moe.local_gate.gate.diagnostics import GateDiagnostics
from crew_moe.ports import Clock

LONG: Final = 20_000
"""Characters from which a text is looked at in a thread: the loop goes on meanwhile."""
LOOKING: Final = 4
"""As many long texts are looked at at once; the others wait."""
GOES_ON: Final = frozenset(trouble for trouble in Trouble if trouble.is_outage) - {Trouble.TIMEOUT} | {
    Trouble.NOT_CAPABLE,
    Trouble.INPUT_TOO_LONG,
}
"""Where the gate's next expert may do what its choice did not."""


class Chooser(Protocol):
    """A gating network."""

    @property
    def version(self) -> str: ...

    def features(self, text: str) -> TextFeatures: ...

    def choose(self, text_features: TextFeatures, among: Collection[str]) -> GateChoice: ...

    def diagnostics(self) -> GateDiagnostics: ...


class Engine:
    """Made and used on one event loop, but for what is said to be for threads."""

    def __init__(
        self,
        plan: LocalPlan,
        pool: Pool,
        *,
        gate: Chooser,
        clock: Clock,
        tell: Callable[..., None],
        notes: Notes,
    ) -> None:
        self.lanes = {
            name: Lane(spec, pool, batch=plan.batch, clock=clock, tell=tell) for name, spec in plan.hosts.items()
        }
        self.workers = Workers("local-gate")
        self._lookers = Workers("local-gate-look", most=LOOKING)
        self._plan = plan
        self._gate = gate
        self._clock = clock
        self._tell = tell
        self._notes = notes
        self._recall = Recall(plan.cache)
        self._seen: Lru[bytes, TextFeatures] = Lru(
            entries=plan.cache.results, max_bytes=MAX_BYTES, size=lambda seen: seen.vector.nbytes
        )
        self._lock = Lock()

    async def answer(self, asked: Asked, pipe: Pipe | None = None) -> Processed | LocalRefusal:
        """What comes of one request. Raises nothing but that it was cancelled."""
        timeout_s = asked.timeout_s if asked.timeout_s is not None else self._plan.timeout_s
        try:
            async with asyncio.timeout(timeout_s if is_time(timeout_s) else None):  # what is none is refused
                request = await self._request(asked, timeout_s, pipe)
                return request if isinstance(request, LocalRefusal) else await self._answer(request)
        except TimeoutError:
            self._tell("local_late", expert=asked.expert or "", timeout_s=timeout_s)
            return late(asked.expert, timeout_s)

    async def choose(self, asked: Asked) -> GateChoice | LocalRefusal:
        """Whom the gate would ask; nobody is."""
        request = await self._request(asked, self._plan.timeout_s, None)
        return request if isinstance(request, LocalRefusal) else self._choice(request)

    async def reload(self, name: str) -> LocalRefusal | None:
        """Load an expert's model anew; None where that went well."""
        if name not in self.lanes:
            return unknown(name, self.lanes)
        try:
            await asyncio.wrap_future(self.workers.result(self.lanes[name].reload))
        except HostFailed as error:
            self._tell("local_failed", expert=name, trouble=str(error.trouble), what=error.what)
            return failed(name, error)
        self._tell("local_reloaded", expert=name)
        return None

    async def warm(self, name: str) -> None:
        """Have an expert's model loaded; where that fails, whoever asks it is told."""
        lane, job = self.lanes[name], Job(Work(text=""))
        answer = await lane.batcher.ask(job, kind=WARM, tokens=1, tier=Tier.BASELINE, deadline=float("inf"))
        if isinstance(answer, LocalRefusal):
            self._tell_of(answer, lane)

    async def aclose(self) -> None:
        """Refuse those that wait, and let those that are computed end."""
        await asyncio.gather(*(lane.batcher.aclose() for lane in self.lanes.values()))

    def join(self, within_s: float) -> None:
        """In any thread, after the loop has ended: wait for the threads."""
        for workers in (self.workers, self._lookers, *(lane.workers for lane in self.lanes.values())):
            workers.close(within_s)

    async def _request(self, asked: Asked, timeout_s: float, pipe: Pipe | None) -> Request | LocalRefusal:
        """The request as everything after it sees it, or what is wrong with it."""
        began = self._clock.monotonic()
        look = partial(self._look, asked)
        text: object = asked.text  # maybe no string, where nobody checks types; the look says so
        is_short = not isinstance(text, str) or len(text) < LONG
        looked = look() if is_short else await asyncio.wrap_future(self._lookers.result(look))
        if isinstance(looked, LocalRefusal):
            return looked
        seen, digest, size = looked
        return Request(
            asked=asked,
            seen=seen,
            text_digest=digest,
            text_bytes=size,
            began=began,
            deadline=began + timeout_s,
            pipe=pipe,
        )

    def _look(self, asked: Asked) -> LocalRefusal | tuple[TextFeatures, bytes, int]:
        """Everything that takes as long as the text is; for any thread."""
        if (complaint := complaint_about(asked, self._plan.hosts)) is not None:
            return complaint
        digest = text_digest(asked.text)
        with self._lock:
            seen = self._seen.get(digest)
        if seen is None:
            seen = self._gate.features(asked.text)
            with self._lock:
                self._seen.put(digest, seen)
        return seen, digest, len(asked.text.encode())

    async def _answer(self, request: Request) -> Processed | LocalRefusal:
        named = request.asked.expert
        if named is not None:
            decision_id = self._notes.named(named, request.seen)
            answer = await self._ask(self.lanes[named], request, confidence=1.0)
            return self._noted(decision_id, answer, named)
        choice = self._choice(request)
        if isinstance(choice, LocalRefusal):
            return choice
        return await self._in_turn(choice, request)

    async def _in_turn(self, choice: GateChoice, request: Request) -> Processed | LocalRefusal:
        """The gate's expert, then those it likes less, while there are outages; if all fail, the first says why."""
        decision_id = self._notes.chose(choice)
        order = self._order(choice, request)
        tried = [(name, Trouble.OVERLOADED) for name in (choice.expert,) if name != order[0]]
        first: LocalRefusal | None = None
        for name in order:
            answer = await self._ask(self.lanes[name], request, confidence=choice.probabilities[name])
            if isinstance(answer, Processed):
                others = tuple(one for one in tried if one[0] != name)
                return self._noted(decision_id, replace(answer, tried=others), name)
            first = first or answer
            if answer.trouble not in GOES_ON or (request.pipe is not None and request.pipe.started):
                return self._noted(decision_id, answer, name)
            tried.append((name, answer.trouble))
            self._tell("local_switched", expert=name, trouble=str(answer.trouble))
        failed_all = first or unavailable("no hosted expert can serve")
        return self._noted(decision_id, failed_all, choice.expert)

    def _noted(self, decision_id: str, answer: Processed | LocalRefusal, expert: str) -> Processed | LocalRefusal:
        if not decision_id:
            return answer
        self._notes.served(decision_id, expert, success=answer.ok)
        return replace(answer, decision_id=decision_id) if isinstance(answer, Processed) else answer

    def _choice(self, request: Request) -> GateChoice | LocalRefusal:
        """Among those that can serve; where none can, among all, so that one of them says why."""
        fit = [name for name, lane in self.lanes.items() if _fits(lane, request)]
        if not fit:
            what = "no hosted expert takes chats with tools or a response format"
            return wrong(what, trouble=Trouble.NOT_CAPABLE)
        return self._gate.choose(request.seen, [name for name in fit if not self.lanes[name].down] or fit)

    def _order(self, choice: GateChoice, request: Request) -> Sequence[str]:
        ranked = (choice.expert, *(name for name in choice.ranked if name != choice.expert))
        if not request.asked.flexible:
            return ranked
        waits_s = {name: self.lanes[name].expected_wait_s(request.asked.tier) for name in ranked}
        return relieved(ranked, choice.probabilities, waits_s, request.deadline - self._clock.monotonic())

    async def _ask(self, lane: Lane, request: Request, *, confidence: float) -> Processed | LocalRefusal:
        """One expert's answer: a remembered one, or a new one."""
        if not _takes(lane, request):
            what = f"{lane.spec.name} takes texts, not chats with tools or a response format"
            return wrong(what, trouble=Trouble.NOT_CAPABLE, expert=lane.spec.name)
        full = work = request.work(lane.spec)
        known = await self._recall.remembered(lane, request, full)
        if known is None and (work := self._relieved(lane, request, full)) != full:
            known = await self._recall.remembered(lane, request, work)
        answer: Answer | LocalRefusal
        if known is not None:
            answer = known.answer
        else:
            answer = await self._recall.fresh(lane, request, work)
        if isinstance(answer, LocalRefusal):
            self._tell_of(answer, lane)
            return answer
        processed = self._processed(lane, request, answer, confidence)
        if known is not None:
            processed = replace(processed, cached=True, similarity=known.similarity)
        return processed if work == full else replace(processed, profile="light")

    def _tell_of(self, refusal: LocalRefusal, lane: Lane) -> None:
        if refusal.trouble is Trouble.OVERLOADED:
            self._tell("local_overloaded", expert=lane.spec.name, waiting=len(lane.batcher))
        elif refusal.trouble.is_outage:
            self._tell("local_failed", expert=lane.spec.name, trouble=str(refusal.trouble), what=refusal.what)

    def _relieved(self, lane: Lane, request: Request, work: Work) -> Work:
        """The same, or something cheaper where too many wait."""
        wait_s = lane.expected_wait_s(request.asked.tier)
        if request.asked.flexible and is_busy(wait_s, request.deadline - self._clock.monotonic()):
            return lighter(work)
        return work

    def _processed(self, lane: Lane, request: Request, answer: Answer, confidence: float) -> Processed:
        made = answer.made
        vector = tuple(answer.vector.tolist()) if answer.vector is not None else ()
        return Processed(
            result=made.text if made is not None else vector,
            expert_used=lane.spec.name,
            confidence=confidence,
            processing_time_s=self._clock.monotonic() - request.began,
            input_features=request.seen.as_dict(),
            model_version=answer.version,
            finish_reason=made.finish_reason if made is not None else "stop",
            input_tokens=made.input_tokens if made is not None else 0,
            output_tokens=made.output_tokens if made is not None else 0,
            reply=made.reply if made is not None else None,
        )


def _takes(lane: Lane, request: Request) -> bool:
    takes_chats = lane.takes_chats
    if takes_chats is None:  # it was not loaded yet
        takes_chats = lane.spec.kind is HostKind.EXTRACTIVE or not lane.spec.kind.has_weights
    return takes_chats or not request.needs_chat


def _fits(lane: Lane, request: Request) -> bool:
    return len(request.asked.text) <= lane.spec.max_input_chars and _takes(lane, request)
