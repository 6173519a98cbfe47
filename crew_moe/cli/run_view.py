"""A run for its reader: tables and the crew's text for people, one JSON object for machines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from crew_moe.cli.output import ABSENT, harmless, milliseconds, out, say, show_table, usd, write_json
from crew_moe.cli.yardstick import RULE, Yardstick, Yardsticks, measure
from crew_moe.domain.outcome import ErrorClass
from crew_moe.errors import CrewMoEError

if TYPE_CHECKING:
    from crew_moe.cli.stage import Stage
    from crew_moe.crew.reporting import CrewReport, TaskRow
    from crew_moe.domain.outcome import Attempt

NOTHING_SENT: Final = frozenset(
    {
        ErrorClass.CIRCUIT_OPEN,
        ErrorClass.DENIED,
        ErrorClass.HELD,
        ErrorClass.NO_ROOM,
        ErrorClass.OVER_BUDGET,
        ErrorClass.SKIPPED,
    }
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What came of a run; `output` is None and `error` is set when it did not reach its end."""

    stage: Stage
    document: str | None
    report: CrewReport
    output: str | None
    error: CrewMoEError | None

    @cached_property
    def yardsticks(self) -> Yardsticks:
        return measure(self.stage.experts, ((row.input_tokens, row.output_tokens) for row in self.report.tasks))

    @cached_property
    def unsettled_usd(self) -> Decimal:
        """What calls that were sent and then failed may cost at most, as long as nobody knows."""
        return sum((one.unsettled_usd for row in self.report.tasks for one in row.attempts), Decimal(0))


def run_json(run: Run) -> None:
    """Print the run as one JSON object; amounts are numbers."""
    best, cheapest = run.yardsticks.best, run.yardsticks.cheapest
    write_json(
        {
            "simulated": run.stage.simulated,
            "document": run.document,
            "tasks": [_task_json(row) for row in run.report.tasks],
            "totals": {
                "cost_usd": float(run.report.cost_usd),
                "always_best_usd": float(best.cost_usd) if best else None,
                "always_cheapest_usd": float(cheapest.cost_usd) if cheapest else None,
                "always_best_expert": best.expert_id if best else None,
                "always_cheapest_expert": cheapest.expert_id if cheapest else None,
                "fallbacks": run.report.fallbacks,
                "unsettled_usd": float(run.unsettled_usd),
            },
            "output": run.output,
            "error": str(run.error) if run.error else None,
        }
    )


def show_run(run: Run) -> None:
    """Print what is simulated, the tasks, the reasons, the totals and the text that the crew wrote."""
    if run.document is not None:
        say(f"Document: {run.document}")
    for notice in run.stage.notices:
        say(notice)
    say()
    rows = run.report.tasks
    show_table(
        ("Task", "!Expert", "!Tier", ">Tries", ">Tokens in", ">out", ">Cost", ">Latency"),
        (_cells(row) for row in rows),
    )
    say()
    show_table(("!Task", "Attempts and reason"), ((row.task, _story(row)) for row in rows))
    say()
    _show_totals(run)
    if run.output is not None:
        say()
        say("What the crew wrote", style="bold")
        say()
        out().print(harmless(run.output), soft_wrap=True)
    _show_way_on(run)


def _cells(row: TaskRow) -> tuple[object, ...]:
    return (
        row.task,
        row.expert_id,
        row.tier,
        sum(attempt.error not in NOTHING_SENT for attempt in row.attempts),
        f"{row.input_tokens:,}",
        f"{row.output_tokens:,}",
        usd(row.cost_usd),
        milliseconds(row.latency_ms),
    )


def _story(row: TaskRow) -> str:
    """Who was tried, in order, and why the first one was chosen."""
    tried = ", then ".join(_attempt(attempt) for attempt in row.attempts) or "nobody was tried"
    values = f"{row.redacted} personal value{'s' * (row.redacted > 1)}"
    redacted = f"\n{values} went out as placeholders and came back in the answer." if row.redacted else ""
    return f"{tried}.{redacted}\n{row.rationale or row.error or ABSENT}"


def _attempt(attempt: Attempt) -> str:
    if attempt.ok:
        return f"{attempt.expert_id} answered" + (f" ({attempt.detail})" if attempt.detail else "")
    if attempt.error in NOTHING_SENT:
        return f"{attempt.expert_id} was passed over ({attempt.detail or attempt.error})"
    status = f", HTTP {attempt.status}" if attempt.status is not None else ""
    return f"{attempt.expert_id} failed ({attempt.error}{status})"


def _show_totals(run: Run) -> None:
    rows: list[tuple[object, ...]] = [("This run", usd(run.report.cost_usd), _fallbacks(run.report.fallbacks))]
    if run.unsettled_usd:
        rows.append(("Unsettled at most", usd(run.unsettled_usd), "calls that were sent and failed; nobody knows yet"))
    for name, stick in (("Always the best", run.yardsticks.best), ("Always the cheapest", run.yardsticks.cheapest)):
        if stick is not None:
            rows.append((name, usd(stick.cost_usd), _compared(stick, run)))
    show_table(("!Total", ">Cost", ""), rows)
    say(RULE, style="dim")


def _fallbacks(count: int) -> str:
    return "no fallback" if count == 0 else f"{count} fallback{'s' * (count > 1)}"


def _compared(stick: Yardstick, run: Run) -> str:
    if not stick.cost_usd:
        return stick.expert_id
    ratio = run.report.cost_usd / stick.cost_usd
    told = f"{100 * ratio:.0f} % of that" if ratio < 1 else f"{ratio:.0f} times that"
    return f"{stick.expert_id}: this run cost {told}"


def _show_way_on(run: Run) -> None:
    decided = [row.decision_id for row in run.report.tasks if row.decision_id]
    if not decided:
        return
    say()
    if run.stage.state is None:
        say("To keep the decisions: crew-moe run --state sqlite:///.crew_moe/state.db", style="dim")
    else:
        say(f"To see why: crew-moe explain {decided[0]} --state {run.stage.state}", style="dim")


def _task_json(row: TaskRow) -> dict[str, Any]:
    return {
        "task": row.task,
        "expert_id": row.expert_id,
        "tier": row.tier,
        "attempts": list(_attempts_json(row.attempts)),
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cost_usd": float(row.cost_usd),
        "latency_ms": round(row.latency_ms, 3),
        "rationale": row.rationale,
        "decision_id": row.decision_id,
        "redacted": row.redacted,
        "error": row.error,
    }


def _attempts_json(attempts: Iterable[Attempt]) -> Iterable[dict[str, Any]]:
    return (
        {
            **attempt.as_dict(),
            "cost_usd": float(attempt.cost_usd),
            "unsettled_usd": float(attempt.unsettled_usd),
        }
        for attempt in attempts
    )
