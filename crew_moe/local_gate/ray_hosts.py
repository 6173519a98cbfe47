"""Hosted experts whose models are held by the replicas of a Ray Serve deployment, as hosts of a local gate.

A call whose replica died before it answered is made once more, elsewhere, under the same id: a replica that lives after
all and has made the answer, or is making it, gives that one and computes nothing twice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import numpy as np
from ray.exceptions import RayActorError, RayError, RayTaskError, TaskCancelledError
from ray.serve.exceptions import BackPressureError, RayServeException

from crew_moe.domain.local_work import (
    Asked,
    HostHealth,
    Loaded,
    LocalHealth,
    LocalRefusal,
    LocalTask,
    Processed,
    Trouble,
)
from crew_moe.errors import HostFailed
from crew_moe.ports import Made, Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from crew_moe.domain.hosting import LocalPlan
    from crew_moe.local_gate.lane import Pool
    from crew_moe.ports import Host

LOOK_S: Final = 5.0
STEP_S: Final = 0.25
"""How often a waiting call looks whether somebody still waits for it."""
LOAD_S: Final = 600.0
ATTEMPTS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a replica tells of an expert that it has loaded."""

    version: str
    takes_chats: bool


class Replicas:
    """Calls of the deployment that holds the experts; `handle` is Ray Serve's. Raises HostFailed and nothing else."""

    def __init__(self, handle: Any, *, timeout_s: float) -> None:
        self._handle = handle
        self._timeout_s = timeout_s

    def answer(self, name: str, asked: Asked, gone: Any = None) -> Processed:
        """What the expert made of it, or HostFailed."""
        call_id = uuid4().hex
        return _made(name, self._twice(lambda: self._one(name, "answer", self._timeout_s, gone, call_id, asked)))

    def stream(self, name: str, asked: Asked) -> Iterator[str]:
        """The expert's answer in pieces. Another replica is asked only where none had come yet."""
        begun = False
        for left in reversed(range(ATTEMPTS)):
            pieces = self._handle.options(method_name="stream", multiplexed_model_id=name, stream=True).remote(asked)
            try:
                for piece in pieces:
                    if not isinstance(piece, str):
                        _made(name, piece)
                        return
                    begun = True
                    yield piece
            except RayActorError:
                if begun or not left:
                    break
            except (RayError, RayServeException, CancelledError) as error:
                raise _failure(error) from None
            finally:
                pieces.cancel()
        raise HostFailed(Trouble.UNAVAILABLE, "the replica that answered is gone")

    def load(self, name: str) -> Told:
        """Have one replica load the expert."""
        told: Told | LocalRefusal = self._twice(lambda: self._one(name, "load", LOAD_S, None, name))
        if isinstance(told, LocalRefusal):
            raise _refusal(name, told)
        return told

    def everywhere(self, method: str, *given: Any, timeout_s: float) -> list[Any]:
        """What every replica says to this."""
        try:
            return list(self._handle.broadcast(method, *given).results(timeout_s=timeout_s))
        except (RayError, RayServeException, TimeoutError, CancelledError) as error:
            raise _failure(error) from None

    def _twice(self, call: Any) -> Any:
        for left in reversed(range(ATTEMPTS)):
            try:
                return call()
            except RayActorError:
                if not left:
                    break
            except (RayError, RayServeException, CancelledError) as error:
                raise _failure(error) from None
        raise HostFailed(Trouble.UNAVAILABLE, f"{ATTEMPTS} replicas in a row were lost", next_steps=("try again",))

    def _one(self, name: str, method: str, timeout_s: float, gone: Any, *given: Any) -> Any:
        """One call, for as long as it may take and somebody waits for it."""
        response = self._handle.options(method_name=method, multiplexed_model_id=name).remote(*given)
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return response.result(timeout_s=STEP_S)
            except RayTaskError:  # what it raised may be a TimeoutError, too
                raise
            except TimeoutError:
                late = time.monotonic() > deadline
                if not late and not (gone is not None and gone()):
                    continue
            response.cancel()
            trouble = Trouble.TIMEOUT if late else Trouble.CANCELLED
            raise HostFailed(trouble, "no replica answered in time" if late else "nobody waits for it any more")


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
        return [self._answered(work) for work in works]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        asked = [Asked(text=text, expert=self.name, task=LocalTask.EMBED, flexible=False) for text in texts]
        return np.asarray([self._seen(self._replicas.answer(self.name, one)).result for one in asked], np.float32)

    def stream(self, work: Work) -> Iterator[str]:
        return self._replicas.stream(self.name, self._asked(work))

    def health(self) -> HostHealth:
        return HostHealth(name=self.name, state=Loaded.READY, version=self._version)

    def unload(self) -> None:
        """Nothing: the replicas keep what fits into their memory."""

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
        yield self._hosts[name]

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
                raise _refusal(name, refusal)
        with self._locks[name]:
            self._hosts.pop(name, None)

    def close(self) -> None:
        self._near.close()


_STATES: Final = (Loaded.READY, Loaded.LOADING, Loaded.COLD, Loaded.FAILED)


def _merged(told: Sequence[HostHealth]) -> HostHealth:
    """One expert over all replicas: the best state of them, and the memory of all."""
    best = min(told, key=lambda one: _STATES.index(one.state))
    return replace(best, memory_bytes=sum(one.memory_bytes for one in told))


def _made(name: str, answer: Any) -> Processed:
    if isinstance(answer, LocalRefusal):
        raise _refusal(name, answer)
    done: Processed = answer
    return done


def _refusal(name: str, told: LocalRefusal) -> HostFailed:
    """As a host would say it, which does not name itself."""
    what = told.what.removeprefix(f"{name}: ")
    return HostFailed(told.trouble, what, next_steps=told.next_steps, retry_after_s=told.retry_after_s)


def _failure(error: BaseException) -> HostFailed:
    """Ray's own failures; their texts stay out, which may hold the call."""
    kind = type(error).__name__
    if isinstance(error, BackPressureError):
        return HostFailed(Trouble.OVERLOADED, "too many calls wait for a replica", next_steps=("try again later",))
    if isinstance(error, TaskCancelledError | CancelledError):
        return HostFailed(Trouble.CANCELLED, "the call was cancelled")
    if isinstance(error, TimeoutError):
        return HostFailed(Trouble.TIMEOUT, "no replica answered in time")
    return HostFailed(Trouble.UNAVAILABLE, f"no replica can answer ({kind})", next_steps=("see `ray status`",))
