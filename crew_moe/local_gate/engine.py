"""What the local gate does with a request, on its own event loop: who is asked, what is remembered, who comes next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Protocol

from crew_moe.domain.expert import Tier
from crew_moe.domain.hosting import HostKind, HostSpec, LocalPlan
from crew_moe.domain.local_work import Asked, LocalRefusal, LocalTask, Processed, Trouble
from crew_moe.errors import HostFailed
from crew_moe.local_gate.cache import Memory, Question, is_repeatable, question
from crew_moe.local_gate.checks import complaint_about, unknown
from crew_moe.local_gate.features import TextFeatures, features
from crew_moe.local_gate.flights import Flights
from crew_moe.local_gate.lane import STREAM, WARM, Answer, Job, Lane, Pool
from crew_moe.local_gate.pipe import Pipe
from crew_moe.local_gate.refusals import failed, late, unavailable, wrong
from crew_moe.local_gate.relief import is_busy, lighter, relieved
from crew_moe.local_gate.workers import Workers
from crew_moe.ports import Clock, LanguageDetector, Work

LONG: Final = 20_000
"""Characters from which a text is looked at in a thread: the loop goes on meanwhile."""
BYTES_PER_TOKEN: Final = 4
GOES_ON: Final = frozenset(trouble for trouble in Trouble if trouble.is_outage) - {Trouble.TIMEOUT} | {
    Trouble.NOT_CAPABLE,
    Trouble.INPUT_TOO_LONG,
}
"""Where the gate's next expert may do what its choice did not."""
AGAIN: Final = frozenset({Trouble.TIMEOUT, Trouble.OVERLOADED})
"""What concerns the time of whoever asked first, and not that of those who asked the same."""


class Choice(Protocol):
    """What a gating network says of one text: its expert, and all in their order."""

    @property
    def expert(self) -> str: ...

    @property
    def confidence(self) -> float: ...

    @property
    def probabilities(self) -> Mapping[str, float]: ...

    @property
    def ranked(self) -> Sequence[str]: ...


class Chooser(Protocol):
    """A gating network."""

    def choose(self, text_features: TextFeatures, among: Sequence[str]) -> Choice: ...

    def diagnostics(self) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request on its way."""

    asked: Asked
    seen: TextFeatures
    tokens: int
    began: float
    deadline: float
    pipe: Pipe | None

    @property
    def needs_chat(self) -> bool:
        """Whether only an expert that takes whole chats can do it."""
        chat = self.asked.chat
        return chat is not None and bool(chat.tools or chat.response_format)

    @property
    def kind(self) -> str:
        """What the lane is to do; an answer with tool calls or a format is no use in pieces."""
        if self.pipe is None or self.asked.task is LocalTask.EMBED or self.needs_chat:
            return self.asked.task
        return f"{STREAM}:{id(self.pipe)}"


class Engine:
    """Made and used on one event loop, but for what is said to be for threads."""

    def __init__(
        self,
        plan: LocalPlan,
        pool: Pool,
        *,
        gate: Chooser | None,
        languages: LanguageDetector | None,
        clock: Clock,
        tell: Callable[..., None],
    ) -> None:
        self.lanes = {
            name: Lane(spec, pool, batch=plan.batch, clock=clock, tell=tell) for name, spec in plan.hosts.items()
        }
        self.workers = Workers("local-gate")
        self._plan = plan
        self._gate = gate
        self._languages = languages
        self._clock = clock
        self._tell = tell
        self._memory = Memory(results=plan.cache.results, embeddings=plan.cache.embeddings)
        self._flights: Flights[tuple[Question, str], Answer | LocalRefusal] = Flights()

    async def answer(self, asked: Asked, pipe: Pipe | None = None) -> Processed | LocalRefusal:
        """What comes of one request. Raises nothing but that it was cancelled."""
        began = self._clock.monotonic()
        timeout_s = asked.timeout_s if asked.timeout_s is not None else self._plan.timeout_s
        if (complaint := await self._off_loop(asked, partial(complaint_about, asked, self._plan.hosts))) is not None:
            return complaint
        try:
            async with asyncio.timeout(timeout_s):
                request = Request(
                    asked=asked,
                    seen=await self._off_loop(asked, partial(features, asked.text, self._languages)),
                    tokens=-(-len(asked.text.encode()) // BYTES_PER_TOKEN),
                    began=began,
                    deadline=began + timeout_s,
                    pipe=pipe,
                )
                return await self._answer(request)
        except TimeoutError:
            return late(asked.expert, timeout_s)

    async def choose(self, asked: Asked) -> Choice | LocalRefusal:
        """Whom the gate would ask; nobody is."""
        if (complaint := await self._off_loop(asked, partial(complaint_about, asked, self._plan.hosts))) is not None:
            return complaint
        seen = await self._off_loop(asked, partial(features, asked.text, self._languages))
        now = self._clock.monotonic()
        return await self._choice(Request(asked=asked, seen=seen, tokens=1, began=now, deadline=now, pipe=None))

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
        job = Job(Work(text=""))
        await self.lanes[name].batcher.ask(job, kind=WARM, tokens=1, tier=Tier.BASELINE, deadline=float("inf"))

    async def aclose(self) -> None:
        """Refuse those that wait, and let those that are computed end."""
        await asyncio.gather(*(lane.batcher.aclose() for lane in self.lanes.values()))

    def join(self, within_s: float) -> None:
        """In any thread, after the loop has ended: wait for the threads."""
        for workers in (self.workers, *(lane.workers for lane in self.lanes.values())):
            workers.close(within_s)

    async def _off_loop(self, asked: Asked, call: Callable[[], Any]) -> Any:
        if not isinstance(asked.text, str) or len(asked.text) < LONG:
            return call()
        return await asyncio.wrap_future(self.workers.result(call))

    async def _answer(self, request: Request) -> Processed | LocalRefusal:
        named = request.asked.expert
        if named is not None:
            return await self._ask(self.lanes[named], request, confidence=1.0)
        choice = await self._choice(request)
        if isinstance(choice, LocalRefusal):
            return choice
        tried: list[tuple[str, Trouble]] = []
        first: LocalRefusal | None = None
        for name in self._order(choice, request):
            confidence = choice.confidence if name == choice.expert else choice.probabilities.get(name, 0.0)
            answer = await self._ask(self.lanes[name], request, confidence=confidence)
            if isinstance(answer, Processed):
                return replace(answer, tried=tuple(tried))
            first = first or answer
            if answer.trouble not in GOES_ON or (request.pipe is not None and request.pipe.started):
                return answer
            tried.append((name, answer.trouble))
            self._tell("local_switched", expert=name, trouble=str(answer.trouble))
        return first or unavailable("no hosted expert can serve")

    async def _choice(self, request: Request) -> Choice | LocalRefusal:
        able = [name for name, lane in self.lanes.items() if _can_serve(lane, request)]
        if not able:
            return self._nobody(request)
        if self._gate is None:
            return unavailable("there is no gating network; name an expert")
        return self._gate.choose(request.seen, able)

    def _nobody(self, request: Request) -> LocalRefusal:
        if request.needs_chat:
            return wrong("no hosted expert takes chats with tools or a response format", trouble=Trouble.NOT_CAPABLE)
        return unavailable("no hosted expert can serve: each lately failed to load")

    def _order(self, choice: Choice, request: Request) -> Sequence[str]:
        ranked = (choice.expert, *(name for name in choice.ranked if name != choice.expert))
        if not request.asked.flexible:
            return ranked
        waits_s = {name: self.lanes[name].batcher.expected_wait_s(request.asked.tier) for name in ranked}
        return relieved(ranked, choice.probabilities, waits_s, request.deadline - self._clock.monotonic())

    async def _ask(self, lane: Lane, request: Request, *, confidence: float) -> Processed | LocalRefusal:
        """One expert's answer: a remembered one, or a new one."""
        if not _takes(lane, request):
            what = f"{lane.spec.name} takes texts, not chats with tools or a response format"
            return wrong(what, trouble=Trouble.NOT_CAPABLE, expert=lane.spec.name)
        work = _work(lane.spec, request.asked)
        is_light = False
        asked = self._question(lane, request, work)
        answer: Answer | LocalRefusal | None = self._remembered(asked, lane)
        is_cached = answer is not None
        if answer is None:
            wait_s = lane.batcher.expected_wait_s(request.asked.tier)
            if request.asked.flexible and is_busy(wait_s, request.deadline - self._clock.monotonic()):
                cheaper = lighter(work)
                is_light = cheaper != work
                work = cheaper
                asked = self._question(lane, request, work)
            answer = await self._compute(lane, request, work, asked)
        if isinstance(answer, LocalRefusal):
            if answer.trouble is Trouble.OVERLOADED:
                self._tell("local_overloaded", expert=lane.spec.name, waiting=len(lane.batcher))
            return answer
        return replace(
            self._processed(lane, request, answer, confidence),
            cached=is_cached,
            profile="light" if is_light else "full",
        )

    async def _compute(self, lane: Lane, request: Request, work: Work, asked: Question | None) -> Answer | LocalRefusal:
        """A new answer, shared with those who ask the same meanwhile, and remembered."""
        ask = partial(
            lane.batcher.ask,
            Job(work, request.pipe),
            kind=request.kind,
            tokens=request.tokens,
            tier=request.asked.tier,
            deadline=request.deadline,
        )
        if asked is None:
            return await ask()
        if request.pipe is not None:
            answer, leads = await ask(), True
        else:
            answer, leads = await self._flights.join((asked, request.asked.tier), ask)
        if isinstance(answer, LocalRefusal):
            return answer if leads or answer.trouble not in AGAIN else await ask()
        self._memory.put(asked, answer)
        return answer

    def _question(self, lane: Lane, request: Request, work: Work) -> Question | None:
        if not is_repeatable(lane.spec.kind, request.asked.task, work):
            return None
        return question(lane.spec.name, request.asked.task, work)

    def _remembered(self, asked: Question | None, lane: Lane) -> Answer | None:
        return None if asked is None else self._memory.get(asked, lane.version)

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


def _work(spec: HostSpec, asked: Asked) -> Work:
    """The expert's own options under the call's."""
    options = {**spec.options, **asked.options}
    told = options.pop("max_output_tokens", None)
    most = told if told is not None else getattr(asked.chat, "max_output_tokens", None)
    return Work(
        text=asked.text,
        options=options,
        max_output_tokens=spec.max_output_tokens if most is None else most,
        chat=asked.chat,
    )


def _takes(lane: Lane, request: Request) -> bool:
    takes_chats = lane.takes_chats
    if takes_chats is None:  # it was not loaded yet
        takes_chats = lane.spec.kind is HostKind.EXTRACTIVE or not lane.spec.kind.has_weights
    return takes_chats or not request.needs_chat


def _can_serve(lane: Lane, request: Request) -> bool:
    return not lane.down and len(request.asked.text) <= lane.spec.max_input_chars and _takes(lane, request)
