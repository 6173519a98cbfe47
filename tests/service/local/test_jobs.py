"""Jobs by themselves: how many there may be, and whose they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from weakref import finalize

import pytest

from crew_moe.clock import ManualClock
from crew_moe.service.local.jobs import Heard, Jobs
from crew_moe.service.problem import Refused
from crew_moe.surface.fault import Fault

ANN: Final = ("acme", "ann")
BOB: Final = ("acme", "bob")
ROW: Final[dict[str, Any]] = {"result": "done"}


async def at_once(_: Heard) -> dict[str, Any] | Fault:
    return ROW


async def never(_: Heard) -> dict[str, Any] | Fault:
    await asyncio.Event().wait()
    return ROW


def jobs(**limits: Any) -> tuple[Jobs, ManualClock]:
    clock = ManualClock(datetime.now(UTC))
    return Jobs(clock, **limits), clock


async def over(found: Jobs, job_id: str) -> None:
    """Until the job has ended."""
    while found.look(ANN, job_id)["status"] == "processing":  # noqa: ASYNC110 - a job tells of no end
        await asyncio.sleep(0)


def refused(ask: Callable[[], Any]) -> str:
    with pytest.raises(Refused) as caught:
        ask()
    return caught.value.fault.code


async def test_a_job_is_its_owner_s_alone() -> None:
    found, _ = jobs()
    job_id = found.start(ANN, at_once)["job_id"]

    assert refused(lambda: found.look(BOB, job_id)) == "unknown_job"
    assert refused(lambda: found.look(("other", "ann"), job_id)) == "unknown_job"
    with pytest.raises(Refused):
        await found.drop(BOB, job_id)
    assert found.look(ANN, job_id)["job_id"] == job_id
    await found.aclose()


class Told(dict[str, Any]):
    """An answer whose end can be seen."""


async def test_an_answer_that_nobody_fetches_goes_when_its_time_is_over() -> None:
    gone = asyncio.Event()

    async def once(_: Heard) -> dict[str, Any] | Fault:
        told = Told(ROW)
        finalize(told, gone.set)
        return told

    found, _ = jobs(kept_s=0.0)
    found.start(ANN, once)

    async with asyncio.timeout(10.0):
        await gone.wait()
    await found.aclose()


async def test_nobody_begins_more_than_may_be_under_way() -> None:
    found, _ = jobs(most=3, most_of_one=2)
    first = found.start(ANN, never)["job_id"]
    found.start(ANN, never)

    assert refused(lambda: found.start(ANN, never)) == "too_many_jobs"
    found.start(BOB, never)
    assert refused(lambda: found.start(("other", "eve"), never)) == "too_many_jobs"
    await found.drop(ANN, first)
    assert found.start(ANN, never)["status"] == "processing"
    await found.aclose()


async def test_the_oldest_that_is_over_makes_room() -> None:
    found, clock = jobs(most_of_one=2)
    old, young = (found.start(ANN, at_once)["job_id"] for _ in range(2))
    for job_id in (old, young):
        await over(found, job_id)
        clock.advance(1)

    found.start(ANN, at_once)

    assert refused(lambda: found.look(ANN, old)) == "unknown_job"
    assert found.look(ANN, young)["answer"] == ROW
    await found.aclose()


async def test_what_goes_wrong_inside_a_job_stands_in_its_row() -> None:
    async def wrong(_: Heard) -> dict[str, Any] | Fault:
        raise RuntimeError("the launch code is 0000")

    found, _ = jobs()
    job_id = found.start(ANN, wrong)["job_id"]
    await over(found, job_id)

    row = found.look(ANN, job_id)
    assert (row["status"], row["error"]["code"]) == ("failed", "unexpected")
    assert "0000" not in str(row)


async def test_at_the_end_all_are_cancelled_even_those_that_had_not_begun() -> None:
    found, _ = jobs()
    job_id = found.start(ANN, never)["job_id"]
    row = await found.drop(ANN, job_id)
    found.start(ANN, never)

    await found.aclose()

    assert row["status"] == "cancelled"
    assert len(asyncio.all_tasks()) == 1
