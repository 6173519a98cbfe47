"""Calls of a Ray Serve deployment's replicas, each of which may be lost at any time.

A call whose replica died before it answered is made once more, elsewhere, under the same id: a replica that lives after
all and has made the answer, or is making it, gives that one and computes nothing twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from ray.exceptions import RayActorError, RayError, RayTaskError, TaskCancelledError
from ray.serve.exceptions import BackPressureError, RayServeException

from crew_moe.domain.local_work import Asked, LocalRefusal, Processed, Trouble
from crew_moe.errors import HostFailed

STEP_S: Final = 0.25
"""How often a waiting call looks whether somebody still waits for it."""
LOAD_S: Final = 600.0
"""A model may have to come over the network."""
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

    def answer(self, name: str, asked: Asked, gone: Callable[[], bool] | None = None) -> Processed:
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
            raise as_failure(name, told)
        return told

    def everywhere(self, method: str, *given: Any, timeout_s: float) -> list[Any]:
        """What every replica says to this."""
        try:
            return list(self._handle.broadcast(method, *given).results(timeout_s=timeout_s))
        except (RayError, RayServeException, TimeoutError, CancelledError) as error:
            raise _failure(error) from None

    def _twice(self, call: Callable[[], Any]) -> Any:
        for left in reversed(range(ATTEMPTS)):
            try:
                return call()
            except RayActorError:
                if not left:
                    break
            except (RayError, RayServeException, CancelledError) as error:
                raise _failure(error) from None
        raise HostFailed(Trouble.UNAVAILABLE, f"{ATTEMPTS} replicas in a row were lost", next_steps=("try again",))

    def _one(self, name: str, method: str, timeout_s: float, gone: Callable[[], bool] | None, *given: Any) -> Any:
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


def _made(name: str, answer: Any) -> Processed:
    if isinstance(answer, LocalRefusal):
        raise as_failure(name, answer)
    done: Processed = answer
    return done


def as_failure(name: str, told: LocalRefusal) -> HostFailed:
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
