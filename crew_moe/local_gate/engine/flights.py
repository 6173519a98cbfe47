"""Equal questions that are asked at the same time are answered once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Flights(Generic[K, V]):
    """What is being computed, by its key. One event loop's; not for threads."""

    def __init__(self) -> None:
        self._tasks: dict[K, asyncio.Task[V]] = {}
        self._waiting: dict[K, int] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    async def join(self, key: K, start: Callable[[], Coroutine[Any, Any, V]]) -> tuple[V, bool]:
        """What `start` gives, or what it gives to whoever started it before; and whether it was started here.

        A caller that is cancelled leaves the others alone; the last one to leave cancels the computation.
        """
        task = self._tasks.get(key)
        if leads := task is None:
            task = self._tasks[key] = asyncio.get_running_loop().create_task(start())
            self._waiting[key] = 0
        self._waiting[key] += 1
        try:
            return await asyncio.shield(task), leads
        finally:
            if self._tasks.get(key) is task:
                self._waiting[key] -= 1
                if not self._waiting[key]:
                    del self._tasks[key], self._waiting[key]
                    task.cancel()  # nothing where it is done
