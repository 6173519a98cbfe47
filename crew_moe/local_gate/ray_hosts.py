"""Hosted experts whose models are held by the replicas of a Ray Serve deployment, as hosts of a local gate."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from crew_moe.domain.local_work import Asked, HostHealth, Loaded, LocalHealth, LocalTask, Made, Processed, Work
from crew_moe.errors import HostFailed
from crew_moe.local_gate.ray_replicas import LOAD_S, Replicas, Told, as_failure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from crew_moe.domain.hosting import LocalPlan
    from crew_moe.local_gate.engine.lane import Pool
    from crew_moe.ports import Host

T = TypeVar("T")
R = TypeVar("R")

LOOK_S: Final = 5.0


class RayHost:
    """ports.Host over the replicas; each call may go to another one."""

    def __init__(self, name: str, replicas: Replicas, told: Told, *, concurrent: int) -> None:
        self.name = name
        self.takes_chats = told.takes_chats
        self.concurrent = concurrent
        self._version = told.version
        self._replicas = replicas

    @property
    def version(self) -> str:
        """What the last answer told: replicas may change while it runs."""
        return self._version

    def load(self) -> None:
        """Nothing: a replica had it loaded when it told of itself."""

    def process(self, works: Sequence[Work]) -> Sequence[Made | HostFailed]:
        return self._side_by_side(self._answered, works)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        asked = [Asked(text=text, expert=self.name, task=LocalTask.EMBED, flexible=False) for text in texts]
        done = self._side_by_side(lambda one: self._seen(self._replicas.answer(self.name, one)), asked)
        return np.asarray([one.result for one in done], np.float32)

    def stream(self, work: Work) -> Iterator[str]:
        return self._replicas.stream(self.name, self._asked(work))

    def health(self) -> HostHealth:
        return HostHealth(name=self.name, state=Loaded.READY, version=self._version)

    def unload(self) -> None:
        """Nothing: the replicas keep what fits into their memory."""

    def _side_by_side(self, call: Callable[[T], R], given: Sequence[T]) -> list[R]:
        """Several come together where they have waited for the first load, and each may go to another replica."""
        if len(given) < 2:
            return [call(one) for one in given]
        with ThreadPoolExecutor(min(len(given), self.concurrent)) as threads:
            return list(threads.map(call, given))

    def _answered(self, work: Work) -> Made | HostFailed:
        try:
            done = self._seen(self._replicas.answer(self.name, self._asked(work), work.gone))
        except HostFailed as failure:
            return failure
        return Made(
            text=str(done.result),
            input_tokens=done.input_tokens,
            output_tokens=done.output_tokens,
            finish_reason=done.finish_reason,
            reply=done.reply,
        )

    def _seen(self, done: Processed) -> Processed:
        self._version = done.model_version or self._version
        return done

    def _asked(self, work: Work) -> Asked:
        most = {} if work.max_output_tokens is None else {"max_output_tokens": work.max_output_tokens}
        return Asked(text=work.text, expert=self.name, options={**work.options, **most}, chat=work.chat, flexible=False)


class RayPool:
    """lane.Pool over the replicas; experts that run in servers of their own are asked from here, by `near`."""

    def __init__(self, plan: LocalPlan, replicas: Replicas, near: Pool, *, concurrent: int) -> None:
        self._names = [name for name, spec in plan.hosts.items() if not spec.kind.is_remote]
        self._replicas = replicas
        self._near = near
        self._concurrent = concurrent
        self._hosts: dict[str, Host] = {}
        self._locks = {name: threading.Lock() for name in self._names}

    @contextmanager
    def use(self, name: str) -> Iterator[Host]:
        if name not in self._locks:
            with self._near.use(name) as host:
                yield host
            return
        with self._locks[name]:
            if name not in self._hosts:
                told = self._replicas.load(name)
                self._hosts[name] = RayHost(name, self._replicas, told, concurrent=self._concurrent)
            ray_host = self._hosts[name]
        yield ray_host

    def health(self) -> Mapping[str, HostHealth]:
        """How each expert is over all replicas; no model is loaded."""
        try:
            told: list[LocalHealth] = self._replicas.everywhere("health", timeout_s=LOOK_S)
        except HostFailed as failure:
            lost = {
                name: HostHealth(name=name, state=Loaded.FAILED, trouble=failure.trouble, what=failure.what)
                for name in self._names
            }
            return {**lost, **self._near.health()}
        return {**{name: _merged([one.hosts[name] for one in told]) for name in self._names}, **self._near.health()}

    def reload(self, name: str) -> None:
        """In every replica, beside the old one. Raises HostFailed where one of them could not."""
        if name not in self._locks:
            self._near.reload(name)
            return
        for refusal in self._replicas.everywhere("reload", name, timeout_s=LOAD_S):
            if refusal is not None:
                raise as_failure(name, refusal)
        with self._locks[name]:
            self._hosts.pop(name, None)

    def close(self) -> None:
        self._near.close()


_STATES: Final = (Loaded.READY, Loaded.LOADING, Loaded.COLD, Loaded.FAILED)


def _merged(told: Sequence[HostHealth]) -> HostHealth:
    """One expert over all replicas: the best state of them, and the memory of all."""
    best = min(told, key=lambda one: _STATES.index(one.state))
    return replace(best, memory_bytes=sum(one.memory_bytes for one in told))
