"""A router that is watched, and what its watchers are told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from crew_moe import Router
from crew_moe.domain.happening import Happening
from crew_moe.sim import Simulation, simulate
from crew_moe.telemetry.events import Recorder


class Witness:
    """Implements ports.Watcher and telemetry.lookout.Reader by keeping everything."""

    def __init__(self) -> None:
        self.seen: list[Happening] = []

    def saw(self, happening: Happening) -> None:
        self.seen.append(happening)

    def read(self, happenings: Sequence[Happening]) -> None:
        self.seen += happenings

    def of(self, kind: type) -> list[Any]:
        return [one for one in self.seen if isinstance(one, kind)]


@contextmanager
def watched_router(**options: Any) -> Iterator[tuple[Router, Witness, Simulation]]:
    """A router over simulated providers, and a witness of what it does."""
    witness = Witness()
    with (
        simulate() as sim,
        Router.from_config(
            state=":memory:", base_url=sim.base_url, sink=Recorder(), watchers=(witness,), **options
        ) as router,
    ):
        yield router, witness, sim
