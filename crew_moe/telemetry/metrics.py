"""The metrics of one app, for Prometheus and as JSON; fed by what happens, by its requests, and by looking things up.

Several processes of one machine answer as one where PROMETHEUS_MULTIPROC_DIR names a folder that they share: it must be
set, and the folder empty, before the first of them starts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from crew_moe.domain.happening import Happening
from crew_moe.errors import MissingExtra
from crew_moe.settings import metrics_folder
from crew_moe.telemetry.metric_table import METRICS, Kind
from crew_moe.telemetry.sources import Reading, Sources, evenness
from crew_moe.telemetry.tally import Tally, known

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric as Family

MAX_ROUTES: Final = 200
METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
REFUSALS: Final = frozenset({"missing", "invalid", "expired"})
LIMITS: Final = frozenset({"requests", "failures"})


class Metrics:
    """Implements telemetry.lookout.Reader.

    Raises MissingExtra without prometheus-client. Safe for threads.
    """

    def __init__(self, sources: Sources | None = None) -> None:
        self._client = _prometheus()
        self._own: CollectorRegistry = self._client.CollectorRegistry()
        self._families = {name: self._made(name) for name in METRICS if METRICS[name].kind is not Kind.LOOKED_UP}
        self._children: dict[tuple[str, tuple[str, ...]], Any] = {}
        self._tally = Tally()
        self._catch_up: Callable[[], None] = _nothing
        self._routes: set[str] = set()
        self._showing = Lock()
        self.content_type = str(self._client.CONTENT_TYPE_LATEST)
        self.bind(sources or Sources())

    def bind(self, sources: Sources) -> None:
        """What is looked up from now on; before the first request."""
        self._sources = sources
        self._tally.know(experts=sources.experts, strategies=sources.strategies)

    def catch_up_by(self, flush: Callable[[], None]) -> None:
        """What is called before anything is shown, so that nothing that has happened is missing."""
        self._catch_up = flush

    # ---- requests -------------------------------------------------------------------------------------------------

    def begun(self) -> None:
        """A request has come."""
        self._child("crew_moe_http_in_flight").inc()

    def served(self, route: str, method: str, status: int, seconds: float) -> None:
        """Its answer has gone. `route` is the template of the path that answered, never a path; empty: none did."""
        route = self._route(route)
        self._child("crew_moe_http_in_flight").dec()
        self._child("crew_moe_http_requests_total", route, known(method, METHODS), str(int(status))).inc()
        self._child("crew_moe_http_request_seconds", route).observe(seconds)

    def limited(self, limit: str) -> None:
        """A request came too soon after others of its caller, or after credentials of its address that were refused."""
        self._child("crew_moe_rate_limited_total", known(limit, LIMITS)).inc()

    def refused_caller(self, code: str) -> None:
        """A caller was not let in."""
        self._child("crew_moe_callers_refused_total", known(code, REFUSALS)).inc()

    def read(self, happenings: Sequence[Happening]) -> None:
        figures = self._tally.of(happenings)
        for (name, labels), amount in figures.counts.items():
            self._child(name, *labels).inc(amount)
        for name, labels, value in figures.observed:
            self._child(name, *labels).observe(value)

    # ---- showing --------------------------------------------------------------------------------------------------

    def render(self) -> bytes:
        """Prometheus' text format. Asks the stores: off the event loop."""
        families = self.collect()

        class Collected:
            def collect(self) -> Iterable[Family]:
                return families

        text: bytes = self._client.generate_latest(Collected())
        return text

    def as_json(self) -> dict[str, Any]:
        """Seed 004's four metrics as plain figures, and all of them by name under `metrics`."""
        families = {family.name.removesuffix("_total"): family for family in self.collect()}
        shown = {name: _shown(families[name.removesuffix("_total")]) for name in METRICS}
        return {**_figures(shown), "metrics": shown}

    def collect(self) -> list[Family]:
        """All families, with everything that has happened until now."""
        with self._showing:
            self._catch_up()
            for name, value in self._sources.levels().items():
                self._child(name).set(value)
            kept = {family.name.removesuffix("_total"): family for family in self._kept()}
        usage = kept.get("moe_expert_usage")
        counts = [sample.value for sample in usage.samples] if usage else []
        even = self._sources.evenness()
        score = Reading("moe_load_balance_score", (), evenness(counts, self._sources.usable) if even is None else even)
        readings = [score, *self._sources.readings()]
        return [self._family(name, kept, readings) for name in METRICS]

    def _family(self, name: str, kept: Mapping[str, Family], readings: Sequence[Reading]) -> Family:
        metric, core = METRICS[name], self._client.metrics_core
        known = kept.get(name.removesuffix("_total"))
        if known is not None:
            known.samples = [sample for sample in known.samples if not sample.name.endswith("_created")]
            return known
        types = {Kind.COUNTER: core.CounterMetricFamily, Kind.HISTOGRAM: core.HistogramMetricFamily}
        family: Family = types.get(metric.kind, core.GaugeMetricFamily)(name, metric.help, labels=metric.labels)
        for reading in readings:
            if reading.name == name:
                family.add_metric(reading.labels, reading.value)  # type: ignore[attr-defined]  # of a subclass
        return family

    def _kept(self) -> Iterator[Family]:
        """What was counted: by this process, or by all that share the folder."""
        folder = metrics_folder()
        if folder is None:
            return iter(self._own.collect())
        from prometheus_client.multiprocess import MultiProcessCollector

        for pid in _dead(folder):
            mark_dead(pid)
        registry = self._client.CollectorRegistry()
        MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]  # not typed there
        return iter(registry.collect())

    def _made(self, name: str) -> Any:
        metric, client = METRICS[name], self._client
        match metric.kind:
            case Kind.COUNTER:
                return client.Counter(name, metric.help, metric.labels, registry=self._own)
            case Kind.HISTOGRAM:
                return client.Histogram(name, metric.help, metric.labels, registry=self._own, buckets=metric.buckets)
            case _:
                mode = "sum" if metric.kind is Kind.TALLY else "livesum"
                return client.Gauge(name, metric.help, metric.labels, registry=self._own, multiprocess_mode=mode)

    def _child(self, name: str, *labels: str) -> Any:
        child = self._children.get((name, labels))
        if child is None:
            family = self._families[name]
            child = self._children[name, labels] = family.labels(*labels) if labels else family
        return child

    def _route(self, template: str) -> str:
        """As many templates as an app may have; whoever passes paths after all does no harm beyond that."""
        if len(self._routes) < MAX_ROUTES and template:
            self._routes.add(template)
        return known(template, self._routes)


def mark_dead(pid: int) -> None:
    """A process that shared the folder has ended: what it held at that moment counts no more."""
    if (folder := metrics_folder()) is not None:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]  # not typed there


def _dead(folder: Path) -> set[int]:
    """Processes whose levels lie in the folder, and that are no more: a killed one could not tell."""
    return {pid for file in folder.glob("gauge_live*_*.db") if not _lives(pid := int(file.stem.rpartition("_")[2]))}


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _nothing() -> None:
    """Everything is counted at once."""


def _shown(family: Family) -> dict[str, Any]:
    """One family without its buckets; quantiles instead."""
    samples = [
        {"labels": sample.labels, "value": sample.value, **({"part": part} if part else {})}
        for sample in family.samples
        if (part := _part(sample.name, family)) != "bucket"
    ]
    return {"type": family.type, "help": family.documentation, "samples": samples}


def _part(name: str, family: Family) -> str:
    part = name.removeprefix(family.name).lstrip("_")
    return "" if part == "total" else part


def _figures(shown: Mapping[str, Any]) -> dict[str, Any]:
    total = sum(sample["value"] for sample in shown["moe_routing_total"]["samples"])
    usage = {sample["labels"]["expert_id"]: sample["value"] for sample in shown["moe_expert_usage"]["samples"]}
    latency = {sample["part"]: sample["value"] for sample in shown["moe_routing_latency_ms"]["samples"]}
    mean_ms = latency["sum"] / latency["count"] if latency.get("count") else None
    return {
        "moe_routing_total": total,
        "moe_expert_usage": usage,
        "moe_routing_latency_ms": {"count": latency.get("count", 0.0), "mean": mean_ms},
        "moe_load_balance_score": shown["moe_load_balance_score"]["samples"][0]["value"],
    }


def _prometheus() -> ModuleType:
    try:
        import prometheus_client
    except ImportError as missing:
        raise MissingExtra("service", "prometheus_client") from missing
    return prometheus_client
