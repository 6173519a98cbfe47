"""The board: registry, policy and snapshot laid out for deciding, with its lanes worked out on demand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Final

from crew_moe.domain.access import NO_DEMANDS, Demands
from crew_moe.domain.features import Features
from crew_moe.domain.policy import Policy
from crew_moe.domain.registry import Registry
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.service import Service
from crew_moe.domain.snapshot import Snapshot
from crew_moe.domain.task import TaskType
from crew_moe.routing.columns import Bools, Columns, Floats, columns_of
from crew_moe.routing.eligibility import Scene, closed_circuits
from crew_moe.routing.experience import Experience, experience_of
from crew_moe.routing.lane import Frame, Lane, frame_of, lane_of
from crew_moe.routing.needs import Asked, Likeness, Needs, needs_of

MAX_LANES: Final = 512


@dataclass(frozen=True, kw_only=True)
class Board:
    """One moment's knowledge, frozen.

    `lanes`, `alike`, `experiences` and `frames` are bounded memos of pure functions: the same question has the same
    answer, whoever asks first. Frames depend on the registry alone and go on to the next board.
    """

    registry: Registry
    policy: Policy
    snapshot: Snapshot
    columns: Columns
    live: bool
    without_credentials: frozenset[str]
    lanes: dict[Needs, Lane] = field(default_factory=dict, repr=False, compare=False)
    alike: dict[Likeness, tuple[Lane, Asked]] = field(default_factory=dict, repr=False, compare=False)
    experiences: dict[TaskType, Experience] = field(default_factory=dict, repr=False, compare=False)
    frames: dict[Needs, Frame] = field(default_factory=dict, repr=False, compare=False)

    def lane(self, needs: Needs) -> Lane:
        found = self.lanes.get(needs)
        if found is None:
            if len(self.lanes) >= MAX_LANES:
                self.lanes.clear()
            scene = self.scene(needs)
            found = self.lanes[needs] = lane_of(scene, self._frame(scene))
        return found

    def remember(self, likeness: Likeness, lane: Lane) -> tuple[Lane, Asked]:
        """The lane, and what was asked as the first one like it did: decisions keep it, and so share it."""
        if len(self.alike) >= MAX_LANES:
            self.alike.clear()
        found = self.alike[likeness] = lane, likeness[0]
        return found

    def scene(self, needs: Needs) -> Scene:
        """What constraints and points of these needs read, and no more: logged decisions keep their scenes."""
        return Scene(
            columns=self.columns,
            needs=needs,
            policy=self.policy,
            experience=self._experience(needs.task_type),
            provider_share=self._provider_share,
            closed_circuit=self._closed_circuit,
            callable_here=self._callable_here,
            live=self.live,
            busy=self.snapshot.busy,
        )

    def needs(self, request: RoutingRequest, features: Features, now: datetime, demands: Demands = NO_DEMANDS) -> Needs:
        """What the request demands, the pins in force included."""
        return needs_of(request, features, self.policy, self.snapshot.pins, now, demands, self.columns.owned)

    def renewed(self, snapshot: Snapshot) -> Board:
        """The same catalogue and policy with newer knowledge, of services that joined or left too."""
        registry, columns = self.registry, self.columns
        if snapshot.services is not self.snapshot.services:
            registry = registry.serving(snapshot.services)
        if registry is not self.registry:
            columns = columns_of(registry)
        return self._knowing(snapshot, registry, columns)

    def following(self, other: Board) -> Board:
        """The same policy with what a board of the same catalogue knows."""
        return self._knowing(other.snapshot, other.registry, other.columns)

    def _knowing(self, snapshot: Snapshot, registry: Registry, columns: Columns) -> Board:
        """Lanes start afresh, and frames where the registry is another one."""
        return Board(
            registry=registry,
            policy=self.policy,
            snapshot=snapshot,
            columns=columns,
            live=self.live,
            without_credentials=self.without_credentials,
            frames=self.frames if registry is self.registry else {},
        )

    @cached_property
    def roomy(self) -> Board:
        """The same, as if every provider had room: for calls that wait their turn."""
        return self if not self.snapshot.busy else self.renewed(replace(self.snapshot, busy={}))

    @cached_property
    def services(self) -> tuple[Service, ...]:
        """The registered services with their weights of now; those whose id the catalogue has are none."""
        known = {one.service_id for one in self.registry.services}
        return tuple(one for one in self.snapshot.services if one.service_id in known)

    def _frame(self, scene: Scene) -> Frame:
        found = self.frames.get(scene.needs)
        if found is None:
            if len(self.frames) >= MAX_LANES:
                self.frames.clear()
            found = self.frames[scene.needs] = frame_of(scene)
        return found

    def _experience(self, task_type: TaskType) -> Experience:
        found = self.experiences.get(task_type)
        if found is None:
            found = experience_of(self.columns, self.policy, self.snapshot, task_type)
            self.experiences[task_type] = found
        return found

    @cached_property
    def _provider_share(self) -> Floats:
        return self.columns.of_providers(self.snapshot.provider_share)

    @cached_property
    def _closed_circuit(self) -> Bools:
        return closed_circuits(self.columns, self.snapshot)

    @cached_property
    def _callable_here(self) -> Bools:
        missing = self.without_credentials
        return ~self.columns.only(*missing) if missing else self.columns.everyone


def board_of(
    registry: Registry,
    policy: Policy,
    snapshot: Snapshot,
    *,
    live: bool = False,
    without_credentials: frozenset[str] = frozenset(),
) -> Board:
    """Lay out registry, policy and snapshot for deciding; services that the snapshot knows join the registry."""
    registry = registry.serving(snapshot.services)
    return Board(
        registry=registry,
        policy=policy,
        snapshot=snapshot,
        columns=columns_of(registry),
        live=live,
        without_credentials=without_credentials,
    )
