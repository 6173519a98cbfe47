"""Hosts that a program made itself: loaded when first used, and kept."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from crew_moe.domain.local_work import HostHealth
from crew_moe.ports import Host


class GivenHosts:
    """Implements lane.Pool over hosts as they are; no limit of memory."""

    def __init__(self, hosts: Mapping[str, Host]) -> None:
        self._hosts = hosts
        self._locks = {name: threading.Lock() for name in hosts}
        self._loaded: set[str] = set()

    @contextmanager
    def use(self, name: str) -> Iterator[Host]:
        host = self._hosts[name]
        with self._locks[name]:
            if name not in self._loaded:
                host.load()
                self._loaded.add(name)
        yield host

    def health(self) -> Mapping[str, HostHealth]:
        return {name: host.health() for name, host in self._hosts.items()}

    def reload(self, name: str) -> None:
        """The same host again, whose calls must have ended: there is no other one to swap it with."""
        with self._locks[name]:
            self._hosts[name].unload()
            self._loaded.discard(name)

    def close(self) -> None:
        for name in self._loaded:
            self._hosts[name].unload()
        self._loaded.clear()
