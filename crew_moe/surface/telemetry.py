"""What a served router tells the outside: metrics, the live feed and traces, put together for one app."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from crew_moe.execution.traced import TracedClient
from crew_moe.execution.turnstile import meter_key
from crew_moe.ports import Feed, Watcher
from crew_moe.router import Router
from crew_moe.state import open_feed
from crew_moe.strategies import STRATEGIES
from crew_moe.telemetry.lookout import Lookout
from crew_moe.telemetry.metrics import Metrics
from crew_moe.telemetry.reporter import Reporter
from crew_moe.telemetry.sources import Sources
from crew_moe.telemetry.tracing import Tracing


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """Opened before the router, whose `watchers` it brings; bound to it before the first request."""

    metrics: Metrics
    feed: Feed
    lookout: Lookout
    reporter: Reporter
    tracing: Tracing

    @classmethod
    def open(cls, state: str) -> Self:
        """Over the state behind a URL, as `open_state` takes it. Raises InvalidInput, MissingExtra and StateError."""
        metrics, feed = Metrics(), open_feed(state)
        reporter = Reporter(feed)
        lookout = Lookout((metrics, reporter))
        metrics.catch_up_by(lookout.flush)
        return cls(metrics=metrics, feed=feed, lookout=lookout, reporter=reporter, tracing=Tracing.open())

    @property
    def watchers(self) -> tuple[Watcher, ...]:
        return (self.lookout, self.tracing) if self.tracing.on else (self.lookout,)

    def bind(self, router: Router) -> None:
        """What metrics look up is this router's, and its calls are traced."""
        self.reporter.know(router.log_key)
        self.metrics.bind(self._sources(router))
        if self.tracing.on:
            router.executor.client.reached_by(lambda client: TracedClient(client, self.tracing))

    def close(self) -> None:
        """Count and publish what has happened, and end all subscriptions; idempotent."""
        self.lookout.close()
        self.feed.close()
        self.tracing.close()

    def _sources(self, router: Router) -> Sources:
        limited = [expert for expert in router.registry if expert.limits.known]

        def places() -> Mapping[str, int]:
            now, meters = router.clock.now(), router.guards.meters
            return {expert.expert_id: meters.status(meter_key(expert), now).in_use for expert in limited}

        def levels() -> Mapping[str, float]:
            texts, hits = router.guards.safety.cache
            return {
                "crew_moe_log_backlog": getattr(router.log, "waiting", 0),
                "crew_moe_log_dropped": getattr(router.log, "dropped", 0),
                "crew_moe_screening_texts": texts,
                "crew_moe_screening_cache_hits": hits,
                "crew_moe_feed_readers": self.feed.readers,
                "crew_moe_feed_dropped": self.feed.dropped,
                "crew_moe_telemetry_backlog": self.lookout.waiting,
                "crew_moe_telemetry_dropped": self.lookout.dropped,
            }

        return Sources(
            experts=frozenset(expert.expert_id for expert in router.registry),
            strategies=frozenset(STRATEGIES),
            usable=sum(expert.enabled for expert in router.registry),
            breakers=router.state.breakers,
            scopes=router.guards.ledger.statuses,
            places=places,
            levels=levels,
            evenness=router.services.evenness,
        )
