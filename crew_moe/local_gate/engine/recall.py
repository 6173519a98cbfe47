"""What an expert answered before, to the letter or nearly, and what it is answering just now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from crew_moe.domain.hosting import CacheSpec
from crew_moe.domain.local_work import LocalRefusal, LocalTask, Trouble, Work
from crew_moe.local_gate.engine.cache import Memory, Question, is_repeatable, question
from crew_moe.local_gate.engine.flights import Flights
from crew_moe.local_gate.engine.lane import Answer, Job, Lane
from crew_moe.local_gate.engine.nearness import Nearness, Vector
from crew_moe.local_gate.engine.request import Request

AGAIN: Final = frozenset({Trouble.TIMEOUT, Trouble.OVERLOADED})
"""What concerns the time of whoever asked first, and not that of those who asked the same."""

Group = tuple[str, str, str, str | None]


@dataclass(frozen=True, slots=True)
class Remembered:
    """An answer that needs no computing; `similarity` is the cosine to the text that it was made for."""

    answer: Answer
    similarity: float = 1.0


class Recall:
    """On the engine's loop. Whatever is remembered counts while the expert has the version that said it."""

    def __init__(self, spec: CacheSpec) -> None:
        self._similarity = spec.similarity
        self._memory = Memory(results=spec.results, embeddings=spec.embeddings)
        self._near: Nearness[Group, Question] = Nearness(spec.embeddings)
        self._flights: Flights[tuple[Question, str], Answer | LocalRefusal] = Flights()
        self._without_embeddings: set[str] = set()

    async def remembered(self, lane: Lane, request: Request, work: Work) -> Remembered | None:
        """The answer to just this, or to what is near enough."""
        asked = _question(lane, request, work)
        if asked is None:
            return None
        if (answer := self._memory.get(asked, lane.version)) is not None:
            return Remembered(answer)
        return await self._nearly(lane, request, asked)

    async def fresh(self, lane: Lane, request: Request, work: Work) -> Answer | LocalRefusal:
        """A new answer, shared with those who ask the same meanwhile, and remembered."""
        asked, job = _question(lane, request, work), Job(work, request.pipe)
        if asked is None:
            return await _ask(lane, request, job, request.kind)
        ask = partial(self._kept, lane, request, asked, job)
        if request.pipe is not None:
            return await ask()
        answer, leads = await self._flights.join((asked, request.asked.tier), ask)
        if not leads and isinstance(answer, LocalRefusal) and answer.trouble in AGAIN:
            return await ask()
        return answer

    async def _kept(self, lane: Lane, request: Request, asked: Question, job: Job) -> Answer | LocalRefusal:
        """A new answer, remembered once however many wait for it."""
        answer = await _ask(lane, request, job, request.kind)
        if isinstance(answer, Answer):
            self._memory.put(asked, answer)
            if (vector := self._vector(asked, answer.version)) is not None:
                self._near.add(_group(asked, answer.version), asked, vector)
        return answer

    async def _nearly(self, lane: Lane, request: Request, asked: Question) -> Remembered | None:
        """As the user opted for: a text's embedding costs less than its answer."""
        if self._similarity is None or asked.task is not LocalTask.PROCESS or request.asked.chat is not None:
            return None
        vector = self._vector(asked, lane.version)
        if vector is None and lane.spec.name not in self._without_embeddings:
            await self._embed(lane, request, asked)
            vector = self._vector(asked, lane.version)  # unless another model has come meanwhile
        near = None if vector is None else self._near.nearest(_group(asked, lane.version), vector)
        if near is None or near[1] < self._similarity:
            return None
        answer = self._memory.get(near[0], lane.version)
        return None if answer is None else Remembered(answer, near[1])

    async def _embed(self, lane: Lane, request: Request, asked: Question) -> None:
        ask = partial(_ask, lane, request, Job(Work(text=request.asked.text)), LocalTask.EMBED)
        answer, _ = await self._flights.join((_embedded(asked), request.asked.tier), ask)
        if isinstance(answer, Answer):
            self._memory.put(_embedded(asked), answer)
        elif answer.trouble is Trouble.NOT_CAPABLE:
            self._without_embeddings.add(lane.spec.name)

    def _vector(self, asked: Question, version: str) -> Vector | None:
        if self._similarity is None or asked.task is not LocalTask.PROCESS:
            return None
        known = self._memory.get(_embedded(asked), version)
        return None if known is None else known.vector


async def _ask(lane: Lane, request: Request, job: Job, kind: str) -> Answer | LocalRefusal:
    return await lane.batcher.ask(
        job, kind=kind, tokens=request.tokens, tier=request.asked.tier, deadline=request.deadline
    )


def _question(lane: Lane, request: Request, work: Work) -> Question | None:
    if not is_repeatable(lane.spec.kind, request.asked.task, work):
        return None
    return question(lane.spec.name, request.asked.task, work, request.text_digest, tenant=request.asked.tenant)


def _embedded(asked: Question) -> Question:
    """The embedding of a question's text, which no options change."""
    return replace(asked, task=LocalTask.EMBED, how="")


def _group(asked: Question, version: str) -> Group:
    """Questions that differ only in their texts."""
    return asked.expert, version, asked.how, asked.tenant
