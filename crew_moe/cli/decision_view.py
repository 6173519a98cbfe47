"""A decision for its reader: the choice, its rivals, those not eligible; now or from the record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from crew_moe.cli.output import milliseconds, say, share, show_pairs, show_table, usd, write_json
from crew_moe.domain.decision import Candidate, Decision, Infeasible

if TYPE_CHECKING:
    from crew_moe.explanation import Explanation

RIVALS: Final = 5
PROOF: Final = {
    True: "the same choice came out, bit for bit",
    False: "ANOTHER CHOICE CAME OUT: the row was changed, or the code was",
    None: "the row alone does not decide",
}


def decision_json(decision: Decision | Infeasible, *, show_all: bool) -> None:
    """Print the decision as JSON; with `show_all` its candidates too, best first."""
    body = decision.as_dict()
    if show_all and isinstance(decision, Decision):
        body["candidates"] = [
            {
                "expert_id": row.expert_id,
                "provider": row.provider,
                "tier": row.tier,
                "score": row.score,
                "quality": row.quality,
                "cost_usd": row.cost_usd,
                "latency_ms": row.latency_ms,
            }
            for row in _by_rank(decision)
        ]
    write_json(body)


def _by_rank(decision: Decision) -> list[Candidate]:
    return sorted(decision.candidates, key=lambda row: -row.ranking)


def show_decision(decision: Decision | Infeasible, *, show_all: bool) -> None:
    """Print the choice with its nearest rivals, or why there is none; `show_all` lists everybody."""
    if isinstance(decision, Decision):
        _show_choice(decision)
        _show_candidates(decision, None if show_all else RIVALS)
    else:
        say(decision.message)
    if show_all or not decision.ok:
        _show_rejections((row.expert_id, row.rule, row.detail) for row in decision.rejections)


def _show_choice(decision: Decision) -> None:
    say(decision.expert_id, style="bold")
    cost = decision.cost
    inferred = dict(decision.features.inferred).get("task_type")
    task = f"{decision.features.task_type}" + (f" (inferred, {share(inferred)} sure)" if inferred is not None else "")
    show_pairs(
        (
            ("Task type", task),
            ("Score", f"{decision.score:.1f} of 100: {_factors(decision.factors)}"),
            ("Cost", f"{usd(cost.expected_usd)}, between {usd(cost.min_usd)} and {usd(cost.max_usd)}"),
            ("Confidence", share(decision.confidence)),
            ("Next", ", ".join(decision.fallbacks) or "nobody"),
            ("Strategy", f"{decision.strategy}, policy {decision.policy_version}"),
            ("Decision", decision.decision_id),
        ),
    )


def _factors(factors: Mapping[str, float]) -> str:
    """Points by factor, the strongest first."""
    return ", ".join(f"{name} {points:.1f}" for name, points in sorted(factors.items(), key=lambda item: -item[1]))


def show_explanation(found: Explanation) -> None:
    """Print a recorded decision: its reason, whether it comes out again, who was tried, who was not eligible."""
    row = found.row
    say(found.rationale)
    say()
    show_pairs(
        (
            ("Decision", found.decision_id),
            ("Score", f"{row['score']:.1f} of 100: {_factors(row['factors'])}" if row["ok"] else None),
            ("Made at", row["created_at"]),
            ("Policy", row["policy_version"]),
            ("Catalogue", row["registry_digest"]),
            ("Worked out anew", PROOF[found.matches]),
            ("Served by", found.served_by or "nobody, as far as is known"),
        )
    )
    if found.served:
        say()
        attempts = (_attempt_cells(number, attempt) for number, attempt in enumerate(found.served, start=1))
        show_table((">Attempt", "!Expert", "Result", ">Cost", ">Latency"), attempts)
    if row["rejections"]:
        _show_rejections((one["expert_id"], one["rule"], one["detail"]) for one in row["rejections"])


def _show_candidates(decision: Decision, count: int | None) -> None:
    candidates = _by_rank(decision)
    shown = candidates[:count]
    say()
    show_table(
        ("!Candidate", "?!Provider", "!Tier", ">Score", ">Quality", ">Cost", ">Latency"),
        (
            (
                row.expert_id,
                row.provider,
                row.tier,
                f"{row.score:.1f}",
                f"{row.quality:.2f}",
                usd(row.cost_usd),
                milliseconds(row.latency_ms),
            )
            for row in shown
        ),
    )
    if len(shown) < len(candidates):
        say(f"and {len(candidates) - len(shown)} more with --all", style="dim")


def _show_rejections(rows: Iterable[tuple[str, str, str]]) -> None:
    say()
    show_table(("!Not eligible", "!Rule", "Why"), rows)


def _attempt_cells(number: int, attempt: Mapping[str, Any]) -> tuple[object, ...]:
    cost, latency = attempt.get("cost_usd"), attempt.get("latency_ms")
    return (
        attempt.get("number", attempt.get("attempt", number)),
        attempt["expert_id"],
        "answered" if attempt["success"] else f"failed ({attempt.get('error') or 'unknown'})",
        None if cost is None else usd(cost),
        None if latency is None else milliseconds(latency),
    )
