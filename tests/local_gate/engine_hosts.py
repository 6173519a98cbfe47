"""Hosts small enough to be understood at a glance, and the plans that name them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crew_moe.domain.hosting import BatchSpec, CacheSpec, HostKind, HostSpec, LocalPlan
from crew_moe.domain.local_work import HostHealth, Loaded, LocalRefusal, Made, Processed, Trouble, Work
from crew_moe.errors import HostFailed
from crew_moe.local_gate.features import TextFeatures, features
from crew_moe.local_gate.gate.choice import GateChoice
from crew_moe.local_gate.gate.diagnostics import GateDiagnostics, diagnose
from crew_moe.local_gate.serving import LocalGate
from crew_moe.ports import Host

PATIENCE_S = 30.0


class Upper:
    """Answers in capitals, streamed as `pieces`, and remembers its batches. `act` is done with each of them first."""

    takes_chats = False

    def __init__(
        self,
        name: str = "upper",
        *,
        act: Callable[[Sequence[str]], object] | None = None,
        pieces: Callable[[str], Iterator[str]] = lambda text: iter(text.upper()),
        concurrent: int = 1,
    ) -> None:
        self.name = name
        self.version = ""
        self.concurrent = concurrent
        self.batches: list[list[str]] = []
        self.works: list[Work] = []
        self.act = act
        self.pieces = pieces
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
        return self.pieces(work.text)


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
    """Always likes the experts in the same order, the first best (or all `even`ly); remembers among whom it chose."""

    order: Sequence[str]
    asked: list[tuple[str, ...]] = field(default_factory=list)
    looked: list[str] = field(default_factory=list)
    version: str = "fixed"
    even: bool = False

    def features(self, text: str) -> TextFeatures:
        self.looked.append(text)
        return features(text)

    def choose(self, text_features: TextFeatures, among: Collection[str]) -> GateChoice:
        self.asked.append(tuple(among))
        ranked = tuple(name for name in self.order if name in among)
        shares = {name: 0.5 if self.even else 2.0**-place for place, name in enumerate(ranked, start=1)}
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
    told = {"kind": HostKind.PYTHON, "max_input_chars": 10_000, **fields}
    return HostSpec(name=name, **told)  # type: ignore[arg-type]  # as given


def plan(
    *names: str, batch: BatchSpec | None = None, cache: CacheSpec | None = None, timeout_s: float = 30.0
) -> LocalPlan:
    return LocalPlan(
        hosts={name: spec(name) for name in names},
        batch=batch or BatchSpec(),
        cache=cache or CacheSpec(),
        timeout_s=timeout_s,
    )


class Events:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []

    def emit(self, event: str, /, **fields: Any) -> None:
        self.told.append((event, fields))

    def names(self) -> list[str]:
        return [event for event, _ in self.told]


def as_host(host: Upper) -> Host:
    """That it is one, mypy checks here."""
    return host


def opened(*hosts: Upper, **given: Any) -> LocalGate:
    """A local gate over these hosts, of which the gating network likes the first best. `given` goes to its plan
    (`batch`, `cache`, `timeout_s`) or to itself (`sink`, `log`, `gate`).
    """
    names = [host.name for host in hosts]
    for_plan = {name: given.pop(name) for name in ("batch", "cache", "timeout_s") if name in given}
    given.setdefault("gate", FixedGate(names))
    return LocalGate.open(plan(*names, **for_plan), hosts={host.name: as_host(host) for host in hosts}, **given)


def processed(answer: object) -> Processed:
    assert isinstance(answer, Processed), answer
    return answer


def refusal(answer: object) -> LocalRefusal:
    assert isinstance(answer, LocalRefusal), answer
    return answer


def out_of_order(_: Sequence[str]) -> None:
    """An act of a host that never answers."""
    raise HostFailed(Trouble.UNAVAILABLE, "its server is down", next_steps=["start it"])
