"""Texts that are worked on in the background: bounded in number, each its owner's alone, forgotten after a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from crew_moe.ports import Clock
from crew_moe.service.problem import Refused
from crew_moe.surface.fault import Fault

KEPT_S: Final = 600.0
MAX_JOBS: Final = 1_000
MAX_OF_ONE: Final = 250

Owner = tuple[str | None, str]
"""Tenant and subject."""
Heard = Callable[[int], None]
Work = Callable[[Heard], Awaitable[dict[str, Any] | Fault]]

FULL: Final = Fault(
    code="too_many_jobs",
    status=429,
    what="as many jobs are under way as there may be",
    next_step="wait for some of them to end, or cancel them",
    retry_after_s=1.0,
)


@dataclass(slots=True, kw_only=True)
class Job:
    """`characters` is how much of the answer there is; `ended` is None while it is worked on."""

    job_id: str
    owner: Owner
    began: float
    characters: int = 0
    ended: float | None = None
    cancelled: bool = False
    outcome: dict[str, Any] | Fault | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    def heard(self, characters: int) -> None:
        self.characters += characters

    @property
    def status(self) -> str:
        if self.ended is None:
            return "processing"
        if self.cancelled:
            return "cancelled"
        return "failed" if isinstance(self.outcome, Fault) else "done"


class Jobs:
    """Lives on one event loop. Those that ended are kept for `kept_s`; when there is no room, the oldest go first."""

    def __init__(
        self, clock: Clock, *, kept_s: float = KEPT_S, most: int = MAX_JOBS, most_of_one: int = MAX_OF_ONE
    ) -> None:
        self._clock = clock
        self._kept_s = kept_s
        self._most = most
        self._most_of_one = most_of_one
        self._jobs: dict[str, Job] = {}

    def start(self, owner: Owner, work: Work) -> dict[str, Any]:
        """Begin; the new job as a JobView. Raises Refused where too many are under way."""
        self._make_room(owner)
        job = Job(job_id=uuid4().hex, owner=owner, began=self._clock.monotonic())
        self._jobs[job.job_id] = job
        job.task = asyncio.create_task(self._do(job, work))
        return self._row(job)

    def look(self, owner: Owner, job_id: str) -> dict[str, Any]:
        """The job as a JobView. Raises Refused where the owner has none of that id (any more)."""
        return self._row(self._of(owner, job_id))

    async def drop(self, owner: Owner, job_id: str) -> dict[str, Any]:
        """End it, if it has not ended, and forget it; the last that there is to tell. Raises Refused as `look`."""
        job = self._of(owner, job_id)
        await self._end(job)
        self._jobs.pop(job_id, None)
        return self._row(job)

    async def aclose(self) -> None:
        """End all that are under way."""
        for job in list(self._jobs.values()):
            await self._end(job)
        self._jobs.clear()

    async def _end(self, job: Job) -> None:
        if job.ended is None and job.task is not None:
            job.task.cancel()
            await asyncio.wait([job.task])
            if job.ended is None:  # it had not even begun
                job.cancelled, job.ended = True, self._clock.monotonic()

    async def _do(self, job: Job, work: Work) -> None:
        try:
            job.outcome = await work(job.heard)
        except asyncio.CancelledError:
            job.cancelled = True
            raise
        except Exception as error:  # noqa: BLE001 - nobody awaits a job: whatever it was must stand in its outcome
            job.outcome = Fault(
                code="unexpected", status=500, what=f"something went wrong here ({type(error).__name__})"
            )
        finally:
            job.ended = self._clock.monotonic()
            asyncio.get_running_loop().call_later(self._kept_s, self._forget)  # whether or not somebody comes

    def _of(self, owner: Owner, job_id: str) -> Job:
        self._forget()
        job = self._jobs.get(job_id)
        if job is None or job.owner != owner:
            told = "there is no such job (any more)"
            raise Refused(Fault(code="unknown_job", status=404, what=told, where="job_id", next_step="start it again"))
        return job

    def _forget(self) -> None:
        now = self._clock.monotonic()
        over = [job.job_id for job in self._jobs.values() if job.ended is not None and now - job.ended >= self._kept_s]
        for job_id in over:
            del self._jobs[job_id]

    def _make_room(self, owner: Owner) -> None:
        self._forget()
        mine = [job for job in self._jobs.values() if job.owner == owner]
        for jobs, most in ((mine, self._most_of_one), (list(self._jobs.values()), self._most)):
            ended = sorted((job for job in jobs if job.ended is not None), key=lambda job: job.ended or 0.0)
            for job in ended[: max(0, len(jobs) + 1 - most)]:
                self._jobs.pop(job.job_id, None)
            if sum(job.ended is None for job in jobs) >= most:
                raise Refused(FULL)

    def _row(self, job: Job) -> dict[str, Any]:
        now = self._clock.monotonic()
        ended, outcome = job.ended, job.outcome
        return {
            "job_id": job.job_id,
            "status": job.status,
            "elapsed_s": round((now if ended is None else ended) - job.began, 3),
            "characters": job.characters,
            "expires_in_s": None if ended is None else round(ended + self._kept_s - now, 3),
            "answer": outcome if isinstance(outcome, dict) else None,
            "error": outcome.as_dict() if isinstance(outcome, Fault) else None,
        }
