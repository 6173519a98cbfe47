"""Hosts small enough to be understood at a glance, and the plans that name them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crew_moe.domain.hosting import BatchSpec, CacheSpec, HostKind, HostSpec, LocalPlan
from crew_moe.domain.local_work import HostHealth, Loaded
from crew_moe.errors import HostFailed
from crew_moe.local_gate.features import TextFeatures, features
from crew_moe.local_gate.gate.choice import GateChoice
from crew_moe.local_gate.gate.diagnostics import GateDiagnostics, diagnose
from crew_moe.ports import Host, Made, Work

PATIENCE_S = 30.0


class Upper:
    """Answers in capitals, and remembers the batches that it was given. `act` is done with each batch first."""

    takes_chats = False

    def __init__(
        self, name: str = "upper", *, act: Callable[[Sequence[str]], object] | None = None, concurrent: int = 1
    ) -> None:
        self.name = name
        self.version = ""
        self.concurrent = concurrent
        self.batches: list[list[str]] = []
        self.works: list[Work] = []
        self.act = act
        self.loads = 0

    def load(self) -> None:
        self.loads += 1
        self.version = f"v{self.loads}"

    def unload(self) -> None:
        self.version = ""

    def health(self) -> HostHealth:
        return HostHealth(name=self.name, state=Loaded.READY if self.version else Loaded.COLD, version=self.version)

    def process(self, works: Sequence[Work]) -> Sequence[Made | HostFailed]:
        self.batches.append([work.text for work in works])
        self.works.extend(works)
        if self.act is not None:
            self.act([work.text for work in works])
        return [Made(text=work.text.upper(), output_tokens=1) for work in works]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """By how often the letters a, b and c occur."""
        rows = np.array([[text.count(letter) + 0.01 for letter in "abc"] for text in texts], dtype=np.float32)
        unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit

    def stream(self, work: Work) -> Iterator[str]:
        yield from work.text.upper()


class Held:
    """An act that waits until it is told to go on; `began` tells that it waits, `seen` is what it was given."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.go = threading.Event()
        self.seen: list[str] = []

    def __call__(self, texts: Sequence[str]) -> None:
        self.seen.extend(texts)
        self.began.set()
        assert self.go.wait(PATIENCE_S)


@dataclass(slots=True)
class FixedGate:
    """Always likes the experts in the same order; remembers among whom it was to choose."""

    order: Sequence[str]
    asked: list[tuple[str, ...]] = field(default_factory=list)
    version: str = "fixed"

    def features(self, text: str) -> TextFeatures:
        return features(text)

    def choose(self, text_features: TextFeatures, among: Collection[str]) -> GateChoice:
        self.asked.append(tuple(among))
        ranked = tuple(name for name in self.order if name in among)
        shares = {name: 2.0**-place for place, name in enumerate(ranked, start=1)}
        return GateChoice(
            expert=ranked[0],
            confidence=shares[ranked[0]],
            probabilities=shares,
            ranked=ranked,
            features=text_features,
        )

    def diagnostics(self) -> GateDiagnostics:
        return diagnose([], self.order)


def spec(name: str, **fields: object) -> HostSpec:
    return HostSpec(name=name, **{"kind": HostKind.PYTHON, "max_input_chars": 10_000, **fields})  # type: ignore[arg-type]


def plan(
    *names: str, batch: BatchSpec | None = None, cache: CacheSpec | None = None, timeout_s: float = 30.0
) -> LocalPlan:
    return LocalPlan(
        hosts={name: spec(name) for name in names},
        batch=batch or BatchSpec(),
        cache=cache or CacheSpec(),
        timeout_s=timeout_s,
    )


def as_host(host: Upper) -> Host:
    """That it is one, mypy checks here."""
    return host
