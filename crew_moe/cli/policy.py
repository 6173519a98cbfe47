"""`crew-moe policy`: the rules in force, and whether a folder's files are right."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from crew_moe.cli.options import AsJson, Config, config_folder
from crew_moe.cli.output import say, show_table, usd, write_json

if TYPE_CHECKING:
    from crew_moe.domain.policy import Policy
    from crew_moe.domain.registry import Registry


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Show and check the policy.", rich_markup_mode=None)
    group.command("show")(show)
    group.command("validate")(validate)
    app.add_typer(group, name="policy")


def show(config: Config = None, as_json: AsJson = False) -> None:
    """Show the policy in force: the packaged one with --config's policy.yaml over it."""
    _, policy = _load(config_folder(config))
    if as_json:
        write_json(_plain(asdict(policy)))
        return
    weights = asdict(policy.weights)
    total = policy.weights.total
    say(f"{policy.version}: strategy {policy.strategy}", style="bold")
    say("Points: " + ", ".join(f"{name} {100 * value / total:.1f}" for name, value in weights.items()))
    say(f"Money is tight at or below {usd(policy.thresholds.tight_budget_usd)}: then the budget experts are preferred.")
    say()
    show_table(
        ("!Task type", "Preferred", "When money is tight", "?!Needs"),
        (
            (name, ", ".join(task.preferred), ", ".join(task.budget), ", ".join(sorted(task.requires)) or None)
            for name, task in policy.tasks.items()
        ),
    )


def validate(config: Config = None, as_json: AsJson = False) -> None:
    """Check experts.yaml, policy.yaml and every routing block of a folder; exit code 2 with the place of a mistake."""
    from crew_moe.crew.plan import AGENTS_FILE, SIDECAR_FILES, TASKS_FILE, load_plan

    folder = config_folder(config)
    registry, policy = _load(folder)
    crew_files = [name for name in (AGENTS_FILE, TASKS_FILE, *SIDECAR_FILES) if folder and (folder / name).is_file()]
    if folder is not None and crew_files:
        load_plan(folder).check(registry, policy)
    told = {
        "policy": policy.version,
        "registry_digest": registry.digest,
        "experts": len(registry),
        "crew_files": crew_files,
    }
    if as_json:
        write_json(told)
        return
    say(f"{len(registry)} experts (catalogue {registry.digest}) and policy {policy.version} are valid.")
    if crew_files:
        say(f"The routing blocks of {', '.join(crew_files)} are valid.")


def _load(folder: Path | None) -> tuple[Registry, Policy]:
    from crew_moe.catalog import load_policy, load_registry
    from crew_moe.strategies import STRATEGIES

    registry = load_registry(folder)
    return registry, load_policy(folder, registry, STRATEGIES)


def _plain(value: Any) -> Any:
    """JSON-ready: mappings keep their keys as text, sets become sorted lists, amounts text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(str(item) for item in value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float | None) else str(value)
