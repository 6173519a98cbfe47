"""`crew-moe plan`: the decisions of a run without a call: who would serve each task, at what cost, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from crew_moe.cli.options import AsJson, Config, Live, State, open_router
from crew_moe.cli.output import ABSENT, say, show_table, usd, write_json
from crew_moe.errors import ConfigError

if TYPE_CHECKING:
    from crew_moe.cli.material import Material
    from crew_moe.crew.config import RoutingBlock
    from crew_moe.domain.decision import CostRange, Decision, Infeasible
    from crew_moe.domain.policy import Policy
    from crew_moe.domain.request import RoutingRequest
    from crew_moe.router import Router

MAX_TEXT_CHARS: Final = 20_000  # of a task's words, as a crew's calls have it


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What would become of one task; `asks` where its own block wants a person to approve of the expert first."""

    task: str
    decision: Decision | Infeasible
    asks: bool


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

    material = load_material(config, document, given or ())
    with open_router(material.rules, state, live=live) as router:
        planned = list(_planned(router, material))
        (_plan_json if as_json else _show_plan)(planned)
    if not all(row.decision.ok for row in planned):
        raise typer.Exit(1)


def _planned(router: Router, material: Material) -> list[Planned]:
    """One decision per task, in order; each is told how much its colleagues will have written."""
    from crew_moe.crew.plan import TASKS_FILE, load_plan

    routing = load_plan(material.folder)
    routing.check(router.registry, router.policy)
    routing.check_tasks(material.tasks)
    planned: list[Planned] = []
    written: dict[str, int] = {}
    file = str(material.folder / TASKS_FILE)
    for name, entry in material.tasks.items():
        if entry.get("agent") is not None:
            _known(entry["agent"], material.agents, "agent", file, f"{name}.agent")
        context = entry.get("context")
        read = list(written) if context is None else context
        if not isinstance(read, list):
            raise ConfigError("must be a list of names", file=file, key=f"{name}.context")
        for task in read:
            _known(task, written, "earlier task", file, f"{name}.context")
        block = routing.block(agent=entry.get("agent"), task=name)
        request = _request(name, entry, block, material, sum(written[task] for task in read))
        decision = router.decide(request)
        planned.append(Planned(task=name, decision=decision, asks=_asks(decision, block)))
        written[name] = _output_tokens(request, decision, router.policy)
    return planned


def _known(name: object, known: Mapping[str, object], noun: str, file: str, key: str) -> None:
    if not isinstance(name, str) or name not in known:
        raise ConfigError(f"unknown {noun} '{name}'", file=file, key=key, value=name, allowed=sorted(known))


def _asks(decision: Decision | Infeasible, block: RoutingBlock) -> bool:
    from crew_moe.domain.decision import Infeasible
    from crew_moe.domain.expert import Tier

    if isinstance(decision, Infeasible) or block.approval is None:
        return False
    return Tier(decision.tier).rank >= block.approval.rank


def _request(
    name: str, entry: Mapping[str, Any], block: RoutingBlock, material: Material, context: int
) -> RoutingRequest:
    """The request that the task's first call would make."""
    from crew_moe.domain.request import RoutingRequest
    from crew_moe.routing.features import estimate_tokens

    words = f"{material.filled(str(entry.get('description', '')))}\n{entry.get('expected_output', '')}"
    text = words[:MAX_TEXT_CHARS]
    persona = material.agents.get(str(entry.get("agent")), {})
    around = [material.filled(str(value)) for key, value in persona.items() if key in ("role", "goal", "backstory")]
    beyond = estimate_tokens(" ".join([*around, words])) - estimate_tokens(text) + context
    return RoutingRequest(**{**block.request_fields(), "text": text, "context_tokens": beyond, "task": name})


def _output_tokens(request: RoutingRequest, decision: Decision | Infeasible, policy: Policy) -> int:
    from crew_moe.routing.needs import terms_of

    return int(terms_of(request, decision.features, policy).output_tokens)


def _show_plan(planned: list[Planned]) -> None:
    show_table(
        ("Task", "!Expert", "!Tier", ">Cost at least", ">expected", ">at most"), (_cells(row) for row in planned)
    )
    say()
    show_table(("!Task", "Reason, and who is tried next"), ((row.task, _story(row)) for row in planned))
    say()
    total = _total(planned)
    say(f"Expected in all: {usd(total.expected)}, between {usd(total.least)} and {usd(total.most)}. No call was made.")


def _cells(planned: Planned) -> tuple[object, ...]:
    cost = _cost(planned.decision)
    if cost is None:
        return planned.task, "infeasible", ABSENT, ABSENT, ABSENT, ABSENT
    row: Any = planned.decision
    return planned.task, row.expert_id, row.tier, usd(cost.min_usd), usd(cost.expected_usd), usd(cost.max_usd)


def _story(planned: Planned) -> str:
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


def _total(planned: list[Planned]) -> _Total:
    costs = [cost for row in planned if (cost := _cost(row.decision)) is not None]
    return _Total(
        least=sum((cost.min_usd for cost in costs), Decimal(0)),
        expected=sum((cost.expected_usd for cost in costs), Decimal(0)),
        most=sum((cost.max_usd for cost in costs), Decimal(0)),
    )


def _plan_json(planned: list[Planned]) -> None:
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
