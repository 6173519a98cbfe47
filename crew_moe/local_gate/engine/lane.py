"""One hosted expert as the engine sees it: its line, its threads, and what its model last told of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from crew_moe.domain.expert import Tier
from crew_moe.domain.hosting import BatchSpec, HostSpec
from crew_moe.domain.local_work import HostHealth, LocalTask, Made, Trouble, Work
from crew_moe.errors import HostFailed
from crew_moe.local_gate.engine.batching import Batcher, Member
from crew_moe.local_gate.engine.pipe import Pipe
from crew_moe.local_gate.engine.workers import Workers
from crew_moe.local_gate.extractive.tokens import estimate_tokens
from crew_moe.ports import Clock, Host

STREAM: Final = "stream"
WARM: Final = "warm"
DOWN: Final = frozenset({Trouble.MISSING_EXTRA, Trouble.MISSING_WEIGHTS, Trouble.BAD_WEIGHTS})
"""What keeps an expert from being chosen; it does not pass by itself."""
DOWN_S: Final = 30.0
"""After so long it may be chosen once more: somebody may have brought the weights."""

_NO_NUMBERS: Final = HostFailed(Trouble.MODEL_FAILED, "the embedding holds what is no finite number")


class Pool(Protocol):
    """The hosts, loaded as they are needed. Blocking."""

    def use(self, name: str) -> AbstractContextManager[Host]:
        """A loaded host, for as long as it is used. Raises HostFailed."""

    def health(self) -> Mapping[str, HostHealth]: ...

    def reload(self, name: str) -> None:
        """Load it anew beside the old one, and swap. Raises HostFailed, and the old one stays."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Job:
    """What one call has computed; `pipe` takes the pieces of a stream."""

    work: Work
    pipe: Pipe | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a job: `made`, or the text's embedding; `version` is of the model that did it."""

    version: str
    made: Made | None = None
    vector: NDArray[np.float32] | None = None


Waiter = Member[Job, Answer]


class Lane:
    """One hosted expert. Lives on the engine's loop; `_run` and `_use` are called in its threads."""

    def __init__(
        self, spec: HostSpec, pool: Pool, *, batch: BatchSpec, clock: Clock, tell: Callable[..., None]
    ) -> None:
        self.spec = spec
        self.version = ""
        """Of the model that answered last; "" before, and after a reload."""
        self.takes_chats: bool | None = None
        self._pool = pool
        self._clock = clock
        self._tell = tell
        self._queue = batch.queue
        self._loads = 0
        self._down_until = float("-inf")
        self.workers = Workers(f"local-{spec.name}")
        self.batcher: Batcher[Host, Job, Answer] = Batcher(
            spec.name, self._use, self._run, spec=batch, clock=clock, workers=self.workers
        )

    @property
    def down(self) -> bool:
        """Whether there is nothing to load, or it lately could not be loaded at all."""
        return self._clock.monotonic() < self._down_until or not _is_there(self.spec)

    def expected_wait_s(self, tier: Tier) -> float:
        """How long a new call would wait; for ever where so many wait that it may be refused soon."""
        crowded = len(self.batcher) * 2 > self._queue
        return float("inf") if crowded else self.batcher.expected_wait_s(tier)

    def reload(self) -> None:
        """In a thread. Raises HostFailed, and everything is as before."""
        self._pool.reload(self.spec.name)
        self._loads += 1
        self.version = ""
        self._down_until = float("-inf")

    @contextmanager
    def _use(self) -> Iterator[Host]:
        loads = self._loads
        with ExitStack() as using:
            try:
                host = using.enter_context(self._pool.use(self.spec.name))
            except HostFailed as error:
                if error.trouble in DOWN:
                    self._down_until = self._clock.monotonic() + DOWN_S
                raise
            self._met(host, loads)
            yield host

    def _met(self, host: Host, loads: int) -> None:
        """Remember what it tells of itself, unless it was reloaded meanwhile."""
        self.takes_chats = host.takes_chats
        self.batcher.widen(max(1, host.concurrent))
        self._down_until = float("-inf")
        if loads == self._loads and self.version != host.version:
            self._tell("local_loaded", expert=self.spec.name, version=host.version)
            self.version = host.version

    def _run(self, host: Host, kind: str, members: Sequence[Waiter]) -> Sequence[Answer | HostFailed]:
        return RUNS[kind.partition(":")[0]](host, members)


def _is_there(spec: HostSpec) -> bool:
    """Whether weights of this machine are where the plan says; what else may be wrong shows when they are loaded."""
    return not spec.kind.has_weights or ((spec.path is None or spec.path.exists()) and _can_load_weights())


@cache
def _can_load_weights() -> bool:
    try:
        return find_spec("torch") is not None and find_spec("transformers") is not None
    except ImportError:  # a finder that keeps them away
        return False


def _process(host: Host, members: Sequence[Waiter]) -> Sequence[Answer | HostFailed]:
    version = host.version
    return [
        made if isinstance(made, HostFailed) else Answer(version=version, made=made)
        for made in host.process([replace(member.item.work, gone=member.gone) for member in members])
    ]


def _embed(host: Host, members: Sequence[Waiter]) -> Sequence[Answer | HostFailed]:
    version = host.version
    rows = [np.asarray(row, dtype=np.float32) for row in host.embed([member.item.work.text for member in members])]
    return [Answer(version=version, vector=row) if np.isfinite(row).all() else _NO_NUMBERS for row in rows]


def _stream(host: Host, members: Sequence[Waiter]) -> Sequence[Answer | HostFailed]:
    """One job, its pieces handed on as they come; the iterator is closed here, in its own thread."""
    (member,) = members
    pipe = member.item.pipe
    pieces: list[str] = []
    stream = host.stream(replace(member.item.work, gone=member.gone))
    try:
        for piece in stream:
            pieces.append(piece)
            if pipe is not None and piece and not pipe.put(piece):
                return [HostFailed(Trouble.CANCELLED, "nobody reads it any more")]
    finally:
        close: Any = getattr(stream, "close", None)
        if close is not None:
            close()
    whole = "".join(pieces)  # whose tokens no host tells of a stream
    given, made = estimate_tokens(member.item.work.text), estimate_tokens(whole)
    return [Answer(version=host.version, made=Made(text=whole, input_tokens=given, output_tokens=made))]


def _warm(host: Host, members: Sequence[Waiter]) -> Sequence[Answer | HostFailed]:
    return [Answer(version=host.version) for _ in members]


RUNS: Final[Mapping[str, Callable[[Host, Sequence[Waiter]], Sequence[Answer | HostFailed]]]] = {
    LocalTask.PROCESS: _process,
    LocalTask.EMBED: _embed,
    STREAM: _stream,
    WARM: _warm,
}
