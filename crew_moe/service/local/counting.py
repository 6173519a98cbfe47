"""What the metrics are told of texts, which go past the router: who was asked, how it went, and how long it took."""

from __future__ import annotations

from collections.abc import Iterator

from crew_moe.domain.happening import Attempted
from crew_moe.domain.local_work import LocalRefusal, Processed, Trouble
from crew_moe.domain.outcome import Attempt
from crew_moe.domain.task import TaskType
from crew_moe.domain.usage import Usage
from crew_moe.execution.hosted import CLASSES, PREFIX
from crew_moe.ports import Clock, Watcher


class Counting:
    """Tells `watcher` of each hosted expert that was asked for one text."""

    def __init__(self, watcher: Watcher, clock: Clock) -> None:
        self._watcher = watcher
        self._clock = clock

    def saw(self, found: Processed | LocalRefusal, tenant: str | None) -> None:
        """An answer, or why there is none."""
        for attempt in self._attempts(found):
            self._watcher.saw(Attempted("", TaskType.ANALYSIS, tenant, attempt))

    def _attempts(self, found: Processed | LocalRefusal) -> Iterator[Attempt]:
        if isinstance(found, LocalRefusal):
            if found.expert is not None:
                yield self._attempt(1, found.expert, found.trouble)
            return
        for number, (expert, trouble) in enumerate(found.tried, start=1):
            yield self._attempt(number, expert, trouble)
        usage = Usage(input_tokens=found.input_tokens, output_tokens=found.output_tokens)
        served = len(found.tried) + 1
        yield self._attempt(served, found.expert_used, None, found.processing_time_s * 1000, usage)

    def _attempt(
        self, number: int, expert: str, trouble: Trouble | None, latency_ms: float = 0.0, usage: Usage | None = None
    ) -> Attempt:
        return Attempt(
            number=number,
            expert_id=f"{PREFIX}{expert}",
            ok=trouble is None,
            error=None if trouble is None else CLASSES[trouble],
            latency_ms=latency_ms,
            usage=usage or Usage(),
            started_at=self._clock.now(),
        )
