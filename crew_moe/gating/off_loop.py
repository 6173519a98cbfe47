"""What may wait for a disk or a server, done on a thread, so that an event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import TypeVar

T = TypeVar("T")


async def off_loop(act: Callable[[], T], *, undo: Callable[[T], object] | None = None) -> T:
    """The result of `act`, which is done to its end even if the caller is cancelled, however often.

    Half of it would leave money or places taken. `undo` is given a result that a cancelled caller does not get.
    """
    # A future and no task: a loop that ends cancels its tasks, and this one's thread would go on all the same.
    acting = asyncio.get_running_loop().run_in_executor(None, copy_context().run, act)
    cancelled: asyncio.CancelledError | None = None
    while not acting.done():
        try:
            await asyncio.wait([acting])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return acting.result()
    if acting.exception() is None and undo is not None:
        await off_loop(partial(undo, acting.result()))
    raise cancelled
