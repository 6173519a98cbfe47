"""Hosts that are nothing but a size, and the memory that they lie in."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from crew_moe.clock import ManualClock
from crew_moe.domain.hosting import HostKind, HostSpec
from crew_moe.domain.local_work import HostHealth, Loaded, Made, Trouble, Work
from crew_moe.errors import HostFailed
from crew_moe.local_gate.hosts import HostPool
from tests.state.given import NOW

MIB: Final = 2**20


class Memory:
    """Counts what lies in it, and what lay in it at most; knows every load."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.used = self.peak = 0
        self.loads: list[str] = []
        self.unloads: list[str] = []
        self.broken: set[str] = set()
        self.held = threading.Event()
        """While it is not set, a load waits."""
        self.held.set()
        self.loading = threading.Event()

    def add(self, block: Block) -> None:
        self.loading.set()
        assert self.held.wait(5), "nobody let the load go on"
        with self._lock:
            self.loads.append(block.name)
            if block.name in self.broken:
                raise HostFailed(Trouble.BAD_WEIGHTS, "broken")
            self.used += block.size
            self.peak = max(self.peak, self.used)

    def take(self, block: Block) -> None:
        with self._lock:
            self.unloads.append(block.name)
            self.used -= block.size


class Block:
    """A host of a size in MiB; each has a version of its own. It must not be asked when it isn't loaded."""

    takes_chats: Final = False
    concurrent: Final = 8

    def __init__(self, spec: HostSpec, memory: Memory, size: int, number: int) -> None:
        self.name = spec.name
        self.size = size
        self.loaded = False
        self._memory = memory
        self._number = number

    @property
    def version(self) -> str:
        return f"v{self._number}" if self.loaded else ""

    def load(self) -> None:
        if not self.loaded:
            self._memory.add(self)
            self.loaded = True

    def process(self, works: Sequence[Work]) -> Sequence[Made | HostFailed]:
        if not self.loaded:
            raise HostFailed(Trouble.UNAVAILABLE, "not loaded")
        return [Made(text=self.version) for _ in works]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.ones((len(texts), 1), dtype=np.float32)

    def stream(self, work: Work) -> Iterator[str]:
        yield work.text

    def health(self) -> HostHealth:
        state = Loaded.READY if self.loaded else Loaded.COLD
        return HostHealth(name=self.name, state=state, memory_bytes=self.size * MIB if self.loaded else 0)

    def unload(self) -> None:
        if self.loaded:
            self.loaded = False
            self._memory.take(self)


class Blocks:
    """A pool of blocks of these sizes (MiB), under a limit of 100; `told` sizes stand in their specs."""

    def __init__(self, sizes: Mapping[str, int], *, told: bool = True, patience_s: float = 0.0) -> None:
        self.memory = Memory()
        self.clock = ManualClock(NOW)
        self.sizes = dict(sizes)
        self.opened = 0
        specs = {
            name: HostSpec(name=name, kind=HostKind.PYTHON, memory_mb=size if told else None)
            for name, size in sizes.items()
        }
        self.pool = HostPool(specs, 100 * MIB, open=self._open, clock=self.clock, patience_s=patience_s)

    def _open(self, spec: HostSpec) -> Block:
        self.opened += 1
        return Block(spec, self.memory, self.sizes[spec.name], self.opened)

    def ask(self, name: str) -> str:
        """The version that answers."""
        with self.pool.use(name) as host:
            (made,) = host.process([Work(text="x")])
        assert isinstance(made, Made), made
        return made.text

    def loaded(self) -> set[str]:
        return {name for name, health in self.pool.health().items() if health.state is Loaded.READY}

    def trouble(self, name: str) -> Trouble | None:
        """What asking ends in, where it ends in trouble."""
        try:
            self.ask(name)
        except HostFailed as error:
            trouble: Trouble = error.trouble
            return trouble
        return None
