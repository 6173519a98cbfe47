"""What happenings add to which metrics: counting alone, without a word of how it is shown."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from crew_moe.domain.decision import Decision
from crew_moe.domain.happening import Attempted, BatchDecided, Decided, Happening, Noted, Reported
from crew_moe.domain.outcome import ErrorClass, Outcome
from crew_moe.domain.task import TaskType
from crew_moe.domain.verdict import Ruling
from crew_moe.telemetry.events import ALARMS
from crew_moe.telemetry.metric_table import OTHER

MAX_EXPECTED: Final = 4096
INFERRED: Final = "inferred"
FEEDBACK: Final = frozenset({"success", "partial", "failure"})
RULINGS: Final = {"gate_allowed": Ruling.ALLOW, "approval_asked": Ruling.HOLD}
BREAKERS: Final = {"circuit_open": "open", "circuit_half_open": "half_open", "circuit_closed": "closed"}
BUDGETS: Final = {"budget_soft_limit": "soft_limit", "budget_burn_rate": "burn_rate", "budget_overrun": "overrun"}
TASK_TYPES: Final = frozenset(task.value for task in TaskType)
ERRORS: Final = frozenset(error.value for error in ErrorClass)
VERDICTS: Final = frozenset(ruling.value for ruling in Ruling)

Counts = Counter[tuple[str, tuple[str, ...]]]
Observed = list[tuple[str, tuple[str, ...], float]]


class Figures(NamedTuple):
    """By (metric, labels): what its count rises by; and each value that its histogram takes."""

    counts: Counts
    observed: Observed


class Tally:
    """Remembers what the newest decisions expected, until their true cost is told; used by one thread at a time.

    `know` says which experts and strategies may stand as labels.
    """

    def __init__(self) -> None:
        self._experts: Collection[str] = ()
        self._strategies: Collection[str] = ()
        self._expected: OrderedDict[str, Decision] = OrderedDict()
        self._observed: Observed = []

    def know(self, *, experts: Collection[str], strategies: Collection[str]) -> None:
        self._experts, self._strategies = experts, strategies

    def of(self, happenings: Sequence[Happening]) -> Figures:
        """What these add."""
        counts: Counts = Counter()
        observed: Observed = []
        self._observed = observed
        for happening in happenings:
            _READ[type(happening)](self, happening, counts)
        return Figures(counts, observed)

    def _decided(self, happening: Decided, counts: Counts) -> None:
        answer = happening.answer
        self._observed.append(("moe_routing_latency_ms", (), happening.took_ms))
        strategy, task_type = known(answer.strategy, self._strategies), answer.features.task_type.value
        counts["moe_routing_total", (strategy, task_type, "routed" if answer.ok else "infeasible")] += 1
        if isinstance(answer, Decision):
            counts["moe_expert_usage", (self._expert(answer.expert_id),)] += 1
            self._expect(answer)

    def _batch_decided(self, happening: BatchDecided, counts: Counts) -> None:
        self._observed.append(("crew_moe_batch_latency_ms", (), happening.took_ms))
        requests, chosen = happening.requests, happening.answers.expert_ids
        strategies, task_types = [each.strategy for each in requests], [each.task_type for each in requests]
        rows = Counter(zip(chosen, strategies, task_types, strict=True))
        for (expert_id, strategy, task_type), count in rows.items():
            name = known(strategy or happening.strategy, self._strategies)
            told = INFERRED if task_type is None else known(str(task_type), TASK_TYPES)
            counts["moe_routing_total", (name, told, "infeasible" if expert_id is None else "routed")] += count
            if expert_id is not None:
                counts["moe_expert_usage", (self._expert(expert_id),)] += count

    def _attempted(self, happening: Attempted, counts: Counts) -> None:
        attempt = happening.attempt
        expert, cost_usd, usage = self._expert(attempt.expert_id), float(attempt.cost_usd), attempt.usage
        reason = "ok" if attempt.error is None else attempt.error.value
        counts["crew_moe_attempts_total", (expert, reason)] += 1
        if attempt.latency_ms:
            self._observed.append(("crew_moe_attempt_seconds", (expert,), attempt.latency_ms / 1000.0))
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
            counts["crew_moe_feedback_total", (known(report.outcome or OTHER, FEEDBACK),)] += 1
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
            counts["crew_moe_fallbacks_total", (known(str(fields.get("error")), ERRORS),)] += 1
        ruling = fields.get("ruling") if event == "gate_verdict" else RULINGS.get(event)
        if ruling is not None:
            counts["crew_moe_gate_verdicts_total", (known(str(ruling), VERDICTS),)] += 1

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
                self._observed.append(("crew_moe_cost_ratio", (), cost_usd / expected_usd))

    def _expert(self, expert_id: str) -> str:
        return known(expert_id, self._experts)


def known(value: str, allowed: Collection[str]) -> str:
    """A label out of a bounded set."""
    return value if value in allowed else OTHER


def _add(counts: Counts, name: str, labels: tuple[str, ...], amount: float) -> None:
    if amount > 0:
        counts[name, labels] += amount  # type: ignore[assignment]  # a Counter adds up floats as well


_READ: Final[Mapping[type, Callable[[Tally, Any, Counts], None]]] = {
    Decided: Tally._decided,
    BatchDecided: Tally._batch_decided,
    Attempted: Tally._attempted,
    Reported: Tally._reported,
    Noted: Tally._noted,
}
