"""Where experts are reached, and with which key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from crew_moe.domain.address import BaseUrl
from crew_moe.domain.expert import Expert, Transport
from crew_moe.domain.host_rules import HostRules
from crew_moe.domain.policy import Policy
from crew_moe.domain.registry import Registry
from crew_moe.domain.snapshot import Snapshot
from crew_moe.ports import Clock, DecisionLog, EventSink
from crew_moe.routing.board import Board, board_of
from crew_moe.settings import api_key, base_url, has_credentials

if TYPE_CHECKING:
    from crew_moe.execution.transports import Transports
    from crew_moe.local_gate.serving import LocalGate


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """`elsewhere` stands in for all remote providers, and takes no key; None: they are reached where they are.

    Registered services are reached where they said, as far as `hosts` allow that. What the local gate hosts stands in
    the local.yaml of `config`.
    """

    elsewhere: BaseUrl | None
    hosts: HostRules
    config: Path | None

    @classmethod
    def read(
        cls, base_url: str | Mapping[str, str] | None, service_hosts: Sequence[str], config: Path | None = None
    ) -> Self:
        """One address for all remote experts, or one by provider; hosts that services may have; and the folder of the
        local gate's configuration. Raises InvalidInput.
        """
        return cls(elsewhere=BaseUrl.read(base_url), hosts=HostRules.read(service_hosts), config=config)

    def board(self, registry: Registry, policy: Policy, now: datetime, *, live: bool) -> Board:
        """The board before anything is known; a live one has a look at the keys."""
        missing = frozenset(expert.expert_id for expert in registry if live and self.lacks_key(expert))
        return board_of(registry, policy, Snapshot(taken_at=now), live=live, without_credentials=missing)

    def lacks_key(self, expert: Expert) -> bool:
        """Whether the expert can't be called for want of its key."""
        return self.elsewhere is None and not has_credentials(expert)

    def url(self, expert: Expert) -> str | None:
        if self.elsewhere is None or expert.is_local or expert.is_service:
            return base_url(expert)
        return self.elsewhere.of(expert.provider)

    def key(self, expert: Expert) -> str | None:
        return api_key(expert) if self.elsewhere is None or expert.is_local else None

    def transports(self, clock: Clock, sink: EventSink, log: DecisionLog) -> Transports:
        """Clients for every transport that this package speaks itself."""
        from crew_moe.execution.client import OpenAIClient
        from crew_moe.execution.guarded import GuardedTransport
        from crew_moe.execution.hosted import HostedClient
        from crew_moe.execution.transports import Transports
        from crew_moe.execution.wire import Wire

        guarded = OpenAIClient(
            base_url_for=self.url, key_for=self.key, wire=Wire(transport=partial(GuardedTransport, self.hosts))
        )
        remote = OpenAIClient(base_url_for=self.url, key_for=self.key)
        hosted = HostedClient(partial(self._local_gate, clock, sink, log), elsewhere=remote, url_for=self.url)
        return Transports({Transport.OPENAI: remote, Transport.HOSTED: hosted}, services=guarded)

    def _local_gate(self, clock: Clock, sink: EventSink, log: DecisionLog) -> LocalGate:
        """The gate over what is hosted; it loads no model yet. Raises ConfigError."""
        from crew_moe.catalog.local import load_local
        from crew_moe.local_gate.serving import LocalGate

        return LocalGate.open(load_local(self.config), clock=clock, sink=sink, log=log)
