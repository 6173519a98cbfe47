"""The metrics of one app, for Prometheus and as JSON; fed by what happens, by its requests, and by looking things up.

Several processes answer as one where PROMETHEUS_MULTIPROC_DIR names a folder that they share: it must be set before the
first of them starts, empty, and whoever starts them says `mark_dead` of one that has ended.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from crew_moe.domain.decision import Decision
from crew_moe.domain.happening import Attempted, BatchDecided, Decided, Happening, Noted, Reported
from crew_moe.domain.outcome import ErrorClass, Outcome
from crew_moe.domain.task import TaskType
from crew_moe.domain.verdict import Ruling
from crew_moe.errors import MissingExtra
from crew_moe.settings import metrics_folder
from crew_moe.telemetry.events import ALARMS
from crew_moe.telemetry.metric_table import METRICS, OTHER, Kind
from crew_moe.telemetry.sources import Reading, Sources, evenness

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric as Family

MAX_EXPECTED: Final = 4096
MAX_ROUTES: Final = 200
INFERRED: Final = "inferred"
FEEDBACK: Final = frozenset({"success", "partial", "failure"})
METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
REFUSALS: Final = frozenset({"missing", "invalid", "expired", "forbidden"})
RULINGS: Final = {"gate_allowed": Ruling.ALLOW, "approval_asked": Ruling.HOLD}
BREAKERS: Final = {"circuit_open": "open", "circuit_half_open": "half_open", "circuit_closed": "closed"}
BUDGETS: Final = {"budget_soft_limit": "soft_limit", "budget_burn_rate": "burn_rate", "budget_overrun": "overrun"}

Counts = Counter[tuple[str, tuple[str, ...]]]


class Metrics:
    """Implements telemetry.lookout.Reader.

    Raises MissingExtra without prometheus-client. Safe for threads.
    """

    def __init__(self, sources: Sources | None = None) -> None:
        self._client = _prometheus()
        self._own: CollectorRegistry = self._client.CollectorRegistry()
        self._families = {name: self._made(name) for name in METRICS if METRICS[name].kind is not Kind.LOOKED_UP}
        self._children: dict[tuple[str, tuple[str, ...]], Any] = {}
        self._expected: OrderedDict[str, Decision] = OrderedDict()
        self._catch_up: Callable[[], None] = _nothing
        self._routes: set[str] = set()
        self._showing = Lock()
        self.content_type = str(self._client.CONTENT_TYPE_LATEST)
        self.bind(sources or Sources())

    def bind(self, sources: Sources) -> None:
        """What is looked up from now on; before the first request."""
        self._sources = sources

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
        self._child("crew_moe_http_requests_total", route, _known(method, METHODS), str(int(status))).inc()
        self._child("crew_moe_http_request_seconds", route).observe(seconds)

    def limited(self, route: str) -> None:
        """A request came too soon after others of its caller."""
        self._child("crew_moe_rate_limited_total", self._route(route)).inc()

    def refused_caller(self, code: str) -> None:
        """A caller was not let in."""
        self._child("crew_moe_callers_refused_total", _known(code, REFUSALS)).inc()

    # ---- happenings -----------------------------------------------------------------------------------------------

    def read(self, happenings: Sequence[Happening]) -> None:
        counts: Counts = Counter()
        for happening in happenings:
            _READ[type(happening)](self, happening, counts)
        for (name, labels), amount in counts.items():
            self._child(name, *labels).inc(amount)

    def _decided(self, happening: Decided, counts: Counts) -> None:
        answer = happening.answer
        self._child("moe_routing_latency_ms").observe(happening.took_ms)
        strategy, task_type = _known(answer.strategy, self._sources.strategies), answer.features.task_type.value
        counts["moe_routing_total", (strategy, task_type, "routed" if answer.ok else "infeasible")] += 1
        if isinstance(answer, Decision):
            counts["moe_expert_usage", (self._expert(answer.expert_id),)] += 1
            self._expect(answer)

    def _batch_decided(self, happening: BatchDecided, counts: Counts) -> None:
        self._child("crew_moe_batch_latency_ms").observe(happening.took_ms)
        requests, chosen = happening.requests, happening.answers.expert_ids
        strategies, task_types = [each.strategy for each in requests], [each.task_type for each in requests]
        rows = Counter(zip(chosen, strategies, task_types, strict=True))
        for (expert_id, strategy, task_type), count in rows.items():
            name = _known(strategy or happening.strategy, self._sources.strategies)
            told = INFERRED if task_type is None else _known(str(task_type), TASK_TYPES)
            counts["moe_routing_total", (name, told, "infeasible" if expert_id is None else "routed")] += count
            if expert_id is not None:
                counts["moe_expert_usage", (self._expert(expert_id),)] += count

    def _attempted(self, happening: Attempted, counts: Counts) -> None:
        attempt = happening.attempt
        expert, cost_usd, usage = self._expert(attempt.expert_id), float(attempt.cost_usd), attempt.usage
        reason = "ok" if attempt.error is None else attempt.error.value
        counts["crew_moe_attempts_total", (expert, reason)] += 1
        if attempt.latency_ms:
            self._child("crew_moe_attempt_seconds", expert).observe(attempt.latency_ms / 1000.0)
        tokens = {"input": usage.input_tokens, "output": usage.output_tokens, "cached": usage.cached_tokens}
        for kind, count in tokens.items():
            _add(counts, "crew_moe_tokens_total", (expert, kind), count)
        _add(counts, "crew_moe_spend_usd_total", (expert,), cost_usd)
        if attempt.ok:
            self._compare(happening.decision_id, attempt.expert_id, cost_usd)
            return
        _add(counts, "crew_moe_wasted_usd_total", (reason,), cost_usd + float(attempt.unsettled_usd))
        _add(counts, "crew_moe_wasted_tokens_total", (reason,), usage.input_tokens + usage.output_tokens)

    def _reported(self, happening: Reported, counts: Counts) -> None:
        report = happening.report
        if not isinstance(report, Outcome):
            counts["crew_moe_feedback_total", (_known(report.outcome or OTHER, FEEDBACK),)] += 1
            return
        expert = self._expert(report.expert_id)
        counts["crew_moe_outcomes_total", (expert, "ok" if report.success else "failed")] += 1
        if report.cost_usd:
            _add(counts, "crew_moe_spend_usd_total", (expert,), float(report.cost_usd))
            if report.success:
                self._compare(report.decision_id, report.expert_id, float(report.cost_usd))

    def _noted(self, happening: Noted, counts: Counts) -> None:
        event, fields = happening.event, happening.fields
        if event in ALARMS:
            counts["crew_moe_alarms_total", (event,)] += 1
        if event in BREAKERS:
            counts["crew_moe_breaker_changes_total", (BREAKERS[event],)] += 1
        if event in BUDGETS:
            counts["crew_moe_budget_alarms_total", (BUDGETS[event],)] += 1
        if event == "expert_switched":
            counts["crew_moe_fallbacks_total", (_known(str(fields.get("error")), ERRORS),)] += 1
        ruling = fields.get("ruling") if event == "gate_verdict" else RULINGS.get(event)
        if ruling is not None:
            counts["crew_moe_gate_verdicts_total", (_known(str(ruling), VERDICTS),)] += 1

    def _expect(self, decision: Decision) -> None:
        self._expected[decision.decision_id] = decision
        if len(self._expected) > MAX_EXPECTED:
            self._expected.popitem(last=False)

    def _compare(self, decision_id: str, expert_id: str, cost_usd: float) -> None:
        """The true cost beside what the decision had expected, where it chose who served."""
        decision = self._expected.get(decision_id)
        if decision is not None and decision.expert_id == expert_id:
            expected_usd = decision.basis.expected_nano / 1e9
            if expected_usd > 0:
                self._child("crew_moe_cost_ratio").observe(cost_usd / expected_usd)

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
        score = Reading("moe_load_balance_score", (), evenness(counts, self._sources.usable))
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
                family.add_metric(reading.labels, reading.value)  # type: ignore[attr-defined]
        return family

    def _kept(self) -> Iterator[Family]:
        """What was counted: by this process, or by all that share the folder."""
        folder = metrics_folder()
        if folder is None:
            return iter(self._own.collect())
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = self._client.CollectorRegistry()
        MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
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
        return _known(template, self._routes)

    def _expert(self, expert_id: str) -> str:
        return _known(expert_id, self._sources.experts)


TASK_TYPES: Final = frozenset(task.value for task in TaskType)
ERRORS: Final = frozenset(error.value for error in ErrorClass)
VERDICTS: Final = frozenset(ruling.value for ruling in Ruling)
_READ: Final[Mapping[type, Callable[[Metrics, Any, Counts], None]]] = {
    Decided: Metrics._decided,
    BatchDecided: Metrics._batch_decided,
    Attempted: Metrics._attempted,
    Reported: Metrics._reported,
    Noted: Metrics._noted,
}


def mark_dead(pid: int) -> None:
    """A process that shared the folder has ended: what it held at that moment counts no more."""
    if (folder := metrics_folder()) is not None:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


def _add(counts: Counts, name: str, labels: tuple[str, ...], amount: float) -> None:
    if amount > 0:
        counts[name, labels] += amount  # type: ignore[assignment]  # a Counter adds up floats as well


def _known(value: str, allowed: Collection[str]) -> str:
    return value if value in allowed else OTHER


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
