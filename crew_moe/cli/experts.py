"""`crew-moe experts` and `crew-moe health`: who there is, how they compare, and how they do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from crew_moe.cli.options import AsJson, Config, Live, State, TaskTypeName, config_folder, one_of, open_router
from crew_moe.cli.output import milliseconds, say, share, show_table, usd, write_json, yes_no

if TYPE_CHECKING:
    from crew_moe.domain.expert import Expert
    from crew_moe.routing.reports import ExpertHealth, Standing


LEGEND: Final = (
    "Ratio: cost over that of the cheapest that charges. ROI: quality bought per money and time, 0 to 1. Success: of "
    "recorded calls."
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("experts")(experts)
    app.command("health")(health)


def experts(
    task_type: TaskTypeName = None,
    top: Annotated[int | None, typer.Option("--top", min=1, help="Only the best N.")] = None,
    config: Config = None,
    live: Live = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """List the catalogue; with --task-type, rank the experts for that work by score, with their cost and return."""
    if task_type is None:
        _catalogue(config, top, live=live, as_json=as_json)
        return
    from crew_moe.domain.task import TaskType
    from crew_moe.routing.reports import typical_request

    one_of(task_type, list(TaskType), "--task-type")
    with open_router(config, state, live=live) as router:
        ranked = router.experts(typical_request(TaskType(task_type)), top=top)
    if as_json:
        write_json([row.as_dict() for row in ranked])
        return
    say(f"Eligible experts for a typical {task_type} request, best score first.")
    say()
    titles = ("!Expert", "?!Tier", ">Score", ">Quality", ">Cost", ">Ratio", ">ROI", ">Latency", "?>Success")
    show_table(titles, (_standing(row) for row in ranked))
    say(LEGEND, style="dim")


def health(config: Config = None, state: State = None, as_json: AsJson = False) -> None:
    """Show whether each expert can be called now, how it did so far, its breaker, and the pins in force."""
    with open_router(config, state) as router:
        rows = router.health()
        pins = router.stats()["pins"]
    if as_json:
        write_json({"experts": [row.as_dict() for row in rows], "pins": pins})
        return
    titles = ("!Expert", "Callable", "!Breaker", ">Calls", ">Success", "?>Latency", "Why not")
    show_table(titles, (_health(row) for row in rows))
    if pins:
        say()
        show_table(("!Pinned to", "Where", "Until", "Reason"), (_pin(pin) for pin in pins))


def _catalogue(config: Path | None, top: int | None, *, live: bool, as_json: bool) -> None:
    """The experts as the catalogue has them, best quality first; needs no state."""
    from crew_moe.catalog import load_registry
    from crew_moe.cli.stage import callable_experts

    registry = load_registry(config_folder(config))
    shown = callable_experts(tuple(registry)) if live else tuple(registry)
    ordered = sorted(shown, key=lambda expert: (-expert.quality, expert.expert_id))[:top]
    if as_json:
        write_json([_expert_json(expert) for expert in ordered])
        return
    titles = ("!Expert", "?!Provider", "!Tier", ">Quality", ">In/Mtok", ">Out/Mtok", ">Window", "!Status")
    show_table(titles, (_expert(expert) for expert in ordered))
    say("Prices are US$ per million tokens, windows are tokens.", style="dim")


def _expert(expert: Expert) -> tuple[object, ...]:
    return (
        expert.expert_id,
        expert.provider,
        expert.tier,
        f"{expert.quality:.2f}",
        f"{expert.input_usd_per_mtok:.3f}",
        f"{expert.output_usd_per_mtok:.3f}",
        f"{expert.context_window:,}",
        expert.status if expert.enabled else "off",
    )


def _expert_json(expert: Expert) -> dict[str, Any]:
    return {
        "expert_id": expert.expert_id,
        "provider": expert.provider,
        "provider_model": expert.provider_model,
        "tier": expert.tier,
        "quality": expert.quality,
        "input_usd_per_mtok": str(expert.input_usd_per_mtok),
        "output_usd_per_mtok": str(expert.output_usd_per_mtok),
        "context_window": expert.context_window,
        "max_output_tokens": expert.max_output_tokens,
        "latency_p50_ms": expert.latency_p50_ms,
        "capabilities": sorted(expert.capabilities),
        "regions": sorted(expert.regions),
        "moderated": expert.moderated,
        "enabled": expert.enabled,
        "status": expert.status,
        "source": expert.source,
        "checked_on": expert.checked_on.isoformat(),
        "note": expert.note,
    }


def _standing(row: Standing) -> tuple[object, ...]:
    return (
        row.expert_id,
        row.tier,
        f"{row.score:.1f}",
        f"{row.quality:.2f}",
        usd(row.expected_cost_usd),
        None if row.cost_ratio is None else f"{row.cost_ratio:.1f}",
        f"{row.roi:.2f}",
        milliseconds(row.latency_ms),
        share(row.success_rate),
    )


def _health(row: ExpertHealth) -> tuple[object, ...]:
    breakers = {str(row.breaker), str(row.provider_breaker)} - {"closed"}
    return (
        row.expert_id,
        yes_no(row.available),
        ", ".join(sorted(breakers)) or "closed",
        f"{row.samples:.0f}",
        share(row.success_rate),
        milliseconds(row.latency_ms),
        row.reason,
    )


def _pin(pin: dict[str, Any]) -> tuple[object, ...]:
    scope = [f"{name} {pin[name]}" for name in ("task_type", "task", "tenant") if pin[name]]
    return (
        pin["expert_id"] or f"strategy {pin['strategy']}",
        ", ".join(scope) or "everywhere",
        pin["expires_at"] or "unpinned",
        pin["reason"] or None,
    )
