"""`crew-moe plan`: the decisions of a run without a call: who would serve each task, at what cost, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crew_moe.cli.options import AsJson, Config, Live, State, open_router
from crew_moe.cli.output import ABSENT, say, show_table, usd, write_json

if TYPE_CHECKING:
    from crew_moe.crew.forecast import Forecast
    from crew_moe.domain.decision import CostRange, Decision, Infeasible


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plan")(plan)


def plan(
    document: Annotated[
        str | None, typer.Argument(metavar="[DOCUMENT]", help="A text file, or - for stdin; default: the demo's.")
    ] = None,
    config: Config = None,
    given: Annotated[
        list[str] | None, typer.Option("--input", metavar="NAME=VALUE", help="A value for a placeholder; repeatable.")
    ] = None,
    live: Live = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Show which expert each task of a crew would get, at what cost and why. No model is called."""
    from crew_moe.cli.material import load_material
    from crew_moe.crew.forecast import forecast

    material = load_material(config, document, given or ())
    with open_router(material.rules, state, live=live) as router:
        planned = forecast(router, material.files, material.inputs)
        (_plan_json if as_json else _show_plan)(planned)
    if not all(row.decision.ok for row in planned):
        raise typer.Exit(1)


def _show_plan(planned: Sequence[Forecast]) -> None:
    show_table(
        ("Task", "!Expert", "!Tier", ">Cost at least", ">expected", ">at most"), (_cells(row) for row in planned)
    )
    say()
    show_table(("!Task", "Reason, and who is tried next"), ((row.task, _story(row)) for row in planned))
    say()
    total = _total(planned)
    say(f"Expected in all: {usd(total.expected)}, between {usd(total.least)} and {usd(total.most)}. No call was made.")


def _cells(planned: Forecast) -> tuple[object, ...]:
    cost = _cost(planned.decision)
    if cost is None:
        return planned.task, "infeasible", ABSENT, ABSENT, ABSENT, ABSENT
    row: Any = planned.decision
    return planned.task, row.expert_id, row.tier, usd(cost.min_usd), usd(cost.expected_usd), usd(cost.max_usd)


def _story(planned: Forecast) -> str:
    from crew_moe.domain.decision import Infeasible

    decision = planned.decision
    if isinstance(decision, Infeasible):
        return decision.message
    held = "\nheld until somebody approves of this expert" if planned.asks else ""
    following = ", ".join(decision.fallbacks) or "nobody"
    return f"{decision.rationale}{held}\nnext: {following}"


def _cost(decision: Decision | Infeasible) -> CostRange | None:
    from crew_moe.domain.decision import Infeasible

    return None if isinstance(decision, Infeasible) else decision.cost


@dataclass(frozen=True, slots=True, kw_only=True)
class _Total:
    least: Decimal
    expected: Decimal
    most: Decimal


def _total(planned: Sequence[Forecast]) -> _Total:
    costs = [cost for row in planned if (cost := _cost(row.decision)) is not None]
    return _Total(
        least=sum((cost.min_usd for cost in costs), Decimal(0)),
        expected=sum((cost.expected_usd for cost in costs), Decimal(0)),
        most=sum((cost.max_usd for cost in costs), Decimal(0)),
    )


def _plan_json(planned: Sequence[Forecast]) -> None:
    total = _total(planned)
    write_json(
        {
            "tasks": [{"task": row.task, "asks": row.asks, **_decision_json(row.decision)} for row in planned],
            "totals": {
                "min_usd": float(total.least),
                "expected_usd": float(total.expected),
                "max_usd": float(total.most),
                "infeasible": sum(not row.decision.ok for row in planned),
            },
        }
    )


def _decision_json(decision: Decision | Infeasible) -> dict[str, Any]:
    cost = _cost(decision)
    if cost is None:
        return decision.as_dict()
    range_usd = {
        "min_usd": float(cost.min_usd),
        "expected_usd": float(cost.expected_usd),
        "max_usd": float(cost.max_usd),
    }
    return {**decision.as_dict(), "cost": range_usd}
