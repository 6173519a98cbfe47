"""Hosts that are loaded when they are needed, and go again when others need the memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from crew_moe.clock import SystemClock
from crew_moe.domain.hosting import HostSpec
from crew_moe.domain.local_work import HostHealth, Loaded, Trouble
from crew_moe.errors import HostFailed, closest
from crew_moe.local_gate.hosts.failures import FREE_MEMORY, guarded, retold
from crew_moe.local_gate.hosts.opening import open_host
from crew_moe.local_gate.hosts.weights import weights_bytes
from crew_moe.ports import Clock, Host

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
"""After a load that failed, the next call tries again only after a pause, which doubles with every failure."""
PATIENCE_S: Final = 30.0
"""How long a load waits for memory that others use."""
MIB: Final = 2**20


@dataclass(slots=True, kw_only=True, eq=False)
class _Seat:
    """A loaded host. `users` use it now; a `retired` one goes with the last of them."""

    host: Host
    memory_bytes: int
    users: int = 0
    retired: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class _Slot:
    """What the pool knows of one name. `moving`: a thread loads or unloads its host, with `reserved_bytes` for it.

    `spare` is a host that isn't loaded.
    """

    spec: HostSpec
    seat: _Seat | None = None
    spare: Host | None = None
    moving: bool = False
    reserved_bytes: int = 0
    used_at: int = 0
    failed: HostFailed | None = None
    failures: int = 0
    again_at_s: float = 0.0

    @property
    def held_bytes(self) -> int:
        return max(self.reserved_bytes, self.seat.memory_bytes if self.seat is not None else 0)

    @property
    def is_idle(self) -> bool:
        """Whether it takes memory that it could give."""
        return not self.moving and self.seat is not None and self.seat.users == 0 and self.seat.memory_bytes > 0


class HostPool:
    """The hosts of these specs by their names; those that are loaded take `memory_limit_bytes` together at most.

    A host is loaded by the first who uses it, while others of the same name wait. Where the limit would be exceeded,
    those go that nobody uses, the longest unused first. What a model takes is what its spec says (`memory_mb`), else
    the size of its weight files until it is loaded, and then what the host tells. Blocking, and safe for threads.
    """

    def __init__(
        self,
        specs: Mapping[str, HostSpec],
        memory_limit_bytes: int,
        *,
        open: Callable[[HostSpec], Host] = open_host,
        clock: Clock | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._slots = {name: _Slot(spec=spec) for name, spec in specs.items()}
        self._limit = memory_limit_bytes
        self._open = open
        self._clock = clock or SystemClock()
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._uses = 0
        self._closed = False

    @contextmanager
    def use(self, name: str) -> Iterator[Host]:
        """The loaded host, which stays loaded meanwhile. Raises HostFailed."""
        seat = self._take(self._slot(name))
        try:
            yield seat.host
        finally:
            self._leave(seat)

    def reload(self, name: str) -> None:
        """Load the host anew beside the old one, which goes when its last user has left; a cold one is loaded.

        Whoever asks meanwhile is served by the old one. Raises HostFailed where the new one can't be loaded: then the
        old one goes on. For that time both are in memory, and the larger one counts.
        """
        slot = self._slot(name)
        self._begin_move(slot)
        old = seat = slot.seat
        failed = None
        try:
            new = self._loaded(slot, self._open(slot.spec))
            seat = old if old is not None and new.host is old.host else new
        except HostFailed as error:
            failed = error
            raise
        finally:
            self._end_move(slot, seat, failed)
        if old is not None and seat is not old:
            self._retire(old)
        if self._closed and seat is not None:
            self._retire(seat)

    def health(self) -> dict[str, HostHealth]:
        """How each host is, by name; loads nothing."""
        return {name: self._health(name, slot) for name, slot in self._slots.items()}

    def close(self) -> None:
        """Unload what is loaded, each when its last user has left, and load nothing any more; idempotent. What is being
        loaded, which may take for ever, is not waited for, and goes as soon as it is there.
        """
        with self._changed:
            self._closed = True
            seats = [slot.seat for slot in self._slots.values() if slot.seat is not None]
            for slot in self._slots.values():
                slot.seat = None
            self._changed.notify_all()
        for seat in seats:
            self._retire(seat)

    def _slot(self, name: str) -> _Slot:
        slot = self._slots.get(name)
        if slot is not None:
            return slot
        near = closest(name, self._slots)
        hint = f"; did you mean '{near}'?" if near else ""
        raise HostFailed(Trouble.UNKNOWN_EXPERT, f"no hosted expert is called '{name[:80]}'{hint}")

    def _take(self, slot: _Slot) -> _Seat:
        """The slot's seat with one user more, loaded first where it is cold."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or slot.seat is not None or not slot.moving)
            self._check_open()
            if slot.seat is not None:
                return self._seated(slot, slot.seat)
            if slot.failed is not None and self._clock.monotonic() < slot.again_at_s:
                raise retold(slot.failed)
            slot.moving = True
        seat, failed = None, None
        try:
            seat = self._loaded(slot, self._spare(slot))
        except HostFailed as error:
            failed = error
            raise
        finally:
            with self._changed:  # so that nobody evicts it before it is used
                self._end_move(slot, seat, failed)
                if seat is not None:
                    self._seated(slot, seat)
        return seat

    def _seated(self, slot: _Slot, seat: _Seat) -> _Seat:
        self._uses += 1
        slot.used_at = self._uses
        seat.users += 1
        return seat

    def _leave(self, seat: _Seat) -> None:
        with self._changed:
            seat.users -= 1
            last = seat.retired and seat.users == 0
            self._changed.notify_all()
        if last:
            _unload(seat.host)

    def _retire(self, seat: _Seat) -> None:
        with self._changed:
            seat.retired = True
            last = seat.users == 0
        if last:
            _unload(seat.host)

    def _check_open(self) -> None:
        if self._closed:
            raise HostFailed(Trouble.UNAVAILABLE, "the hosts are closed")

    def _begin_move(self, slot: _Slot) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not slot.moving)
            self._check_open()
            slot.moving = True

    def _end_move(self, slot: _Slot, seat: _Seat | None, failed: HostFailed | None) -> None:
        with self._changed:
            slot.seat, slot.moving, slot.reserved_bytes = None if self._closed else seat, False, 0
            if self._closed and seat is not None:
                seat.retired = True
            slot.failed = retold(failed) if failed is not None else None
            slot.failures = slot.failures + 1 if failed is not None else 0
            pause_s = min(FIRST_PAUSE_S * 2.0 ** min(slot.failures - 1, 10), LONGEST_PAUSE_S)
            slot.again_at_s = self._clock.monotonic() + pause_s
            self._changed.notify_all()

    def _spare(self, slot: _Slot) -> Host:
        if slot.spare is None:
            slot.spare = self._open(slot.spec)
        return slot.spare

    def _loaded(self, slot: _Slot, host: Host) -> _Seat:
        """The host, loaded, with room for it. Raises HostFailed."""
        stated = int((slot.spec.memory_mb or 0) * MIB)
        self._make_room(slot, stated or weights_bytes(slot.spec))
        guarded(host.load)
        taken = stated or host.health().memory_bytes
        try:
            self._make_room(slot, taken)
        except HostFailed:
            if slot.seat is None or slot.seat.host is not host:
                _unload(host)
            raise
        return _Seat(host=host, memory_bytes=taken)

    def _make_room(self, slot: _Slot, needed: int) -> None:
        """Reserve memory for the slot, which others give that nobody uses. Raises HostFailed where they don't."""
        if needed > self._limit:
            raise _no_room(
                f"'{slot.spec.name}' takes {_mib(needed)}, and all models together may take {_mib(self._limit)}"
            )
        until_s = time.monotonic() + self._patience_s
        while True:
            with self._changed:
                self._check_open()
                others = [other for other in self._slots.values() if other is not slot]
                if needed + sum(other.held_bytes for other in others) <= self._limit:
                    slot.reserved_bytes = needed
                    return
                idle = [other for other in others if other.is_idle]
                if not idle:
                    if self._changed.wait(max(0.0, until_s - time.monotonic())):
                        continue
                    raise _no_room(
                        f"'{slot.spec.name}' takes {_mib(needed)}, and the models in use leave no room for it"
                    )
                victim = min(idle, key=lambda other: other.used_at)
                seat, victim.seat, victim.moving = victim.seat, None, True
                victim.reserved_bytes = seat.memory_bytes if seat is not None else 0  # until it is free
            if seat is not None:
                _unload(seat.host)
                victim.spare = seat.host
            self._end_move(victim, None, None)

    def _health(self, name: str, slot: _Slot) -> HostHealth:
        with self._changed:
            seat, moving, failed = slot.seat, slot.moving, slot.failed
        if seat is None and moving:
            return HostHealth(name=name, state=Loaded.LOADING)
        if seat is not None or failed is None:
            try:
                return guarded(lambda: (seat.host if seat is not None else self._spare(slot)).health())
            except HostFailed as error:
                failed = error
        return HostHealth(name=name, state=Loaded.FAILED, trouble=failed.trouble, what=failed.what)


def _unload(host: Host) -> None:
    """An unload that fails keeps nobody from going on: the host is not asked any more."""
    try:
        guarded(host.unload)
    except HostFailed:
        return


def _no_room(what: str) -> HostFailed:
    return HostFailed(Trouble.OUT_OF_MEMORY, what, next_steps=FREE_MEMORY)


def _mib(size: int) -> str:
    return f"{size / MIB:,.0f} MiB"
