"""`crew-moe route` and `crew-moe explain`: one decision with its evidence, now or from the record."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from crew_moe.cli.options import AsJson, Config, Live, State, TaskTypeName, Tenant, durable, open_router
from crew_moe.cli.output import write_json
from crew_moe.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("route")(route)
    app.command("explain")(explain)


def route(
    task_type: TaskTypeName = None,
    text: Annotated[str | None, typer.Option("--text", help="What is asked; - reads stdin.")] = None,
    request: Annotated[
        str | None, typer.Option("--request", metavar="FILE", help="A request as JSON, or - for stdin.")
    ] = None,
    context_tokens: Annotated[int | None, typer.Option("--context-tokens", help="Tokens beside the text.")] = None,
    max_output_tokens: Annotated[int | None, typer.Option("--max-output-tokens", help="Limit of the answer.")] = None,
    budget: Annotated[str | None, typer.Option("--budget", metavar="USD", help="Most that it may cost.")] = None,
    min_quality: Annotated[float | None, typer.Option("--min-quality", help="Least quality, 0 to 1.")] = None,
    max_latency_ms: Annotated[float | None, typer.Option("--max-latency-ms", help="Most time for a call.")] = None,
    tier: Annotated[str | None, typer.Option("--tier", help="fast, baseline or premium.")] = None,
    max_tier: Annotated[str | None, typer.Option("--max-tier", help="Highest tier for fallbacks.")] = None,
    requires: Annotated[
        list[str] | None, typer.Option("--requires", metavar="CAPABILITY", help="What it must be able to; repeatable.")
    ] = None,
    provider: Annotated[
        list[str] | None, typer.Option("--provider", metavar="NAME", help="Preferred; repeatable.")
    ] = None,
    residency: Annotated[str | None, typer.Option("--residency", metavar="REGION", help="Where it must be.")] = None,
    risk: Annotated[str | None, typer.Option("--risk", help="low, medium or high.")] = None,
    strategy: Annotated[str | None, typer.Option("--strategy", help="Another than the policy's.")] = None,
    pin: Annotated[str | None, typer.Option("--pin", metavar="EXPERT", help="This expert and no other.")] = None,
    tenant: Tenant = None,
    show_all: Annotated[bool, typer.Option("--all", help="List all candidates and rejections.")] = False,
    config: Config = None,
    live: Live = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Decide which expert serves one request. No model is called. Options override fields of --request."""
    options = {
        "task_type": task_type,
        "text": text,
        "context_tokens": context_tokens,
        "max_output_tokens": max_output_tokens,
        "budget_usd": budget,
        "min_quality": min_quality,
        "max_latency_ms": max_latency_ms,
        "tier": tier,
        "max_tier": max_tier,
        "requires": requires or None,
        "preferred_providers": provider or None,
        "residency": residency,
        "risk": risk,
        "strategy": strategy,
        "pin": pin,
        "tenant": tenant,
    }
    given = {name: value for name, value in options.items() if value is not None}
    from crew_moe.cli.decision_view import decision_json, show_decision
    from crew_moe.domain.request import RoutingRequest

    asked = RoutingRequest(**_fields(request, given))
    with open_router(config, state, live=live) as router:
        decision = router.decide(asked)
        (decision_json if as_json else show_decision)(decision, show_all=show_all)
    if not decision.ok:
        raise typer.Exit(1)


def explain(
    decision_id: Annotated[str, typer.Argument(metavar="DECISION_ID", help="As run, route and the log give it.")],
    config: Config = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Tell a recorded decision again: the reason, the same choice worked out anew, and what came of it."""
    from crew_moe.cli.decision_view import show_explanation

    url = durable(state, "looking up a decision")
    with open_router(config, url) as router:
        found = router.explain(decision_id)
    if as_json:
        write_json(found.as_dict())
    else:
        show_explanation(found)


def _fields(file: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """The request's fields: those of the file, with the options over them."""
    from crew_moe.cli.material import STDIN, read_input

    base: Any = {}
    if file is not None:
        name = "stdin" if file == STDIN else file
        text = read_input(file)
        try:
            base = json.loads(text)
        except (ValueError, RecursionError):
            raise ConfigError("is no JSON", file=name) from None
        if not isinstance(base, dict):
            raise ConfigError("must hold one JSON object", file=name)
    if options.get("text") == STDIN:
        options["text"] = read_input(STDIN)
    return {**base, **options}
