"""`crew-moe policy`: the rules in force, whether a folder's files are right, and whether they say what was meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from crew_moe.cli.options import MEMORY, AsJson, Config, config_folder, open_router
from crew_moe.cli.output import say, show_table, usd, write_json
from crew_moe.cli.policy_diff import diff
from crew_moe.cli.policy_evaluate import evaluate
from crew_moe.domain.money import to_usd
from crew_moe.domain.screening import Concern
from crew_moe.errors import InvalidInput

if TYPE_CHECKING:
    from crew_moe.domain.access import AccessRule
    from crew_moe.domain.policy import Policy
    from crew_moe.domain.registry import Registry
    from crew_moe.gating.access import AccessControl

EXAMPLES: Final = ("*.yaml", "*.yml")


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Show and check the policy.", rich_markup_mode=None)
    group.command("show")(show)
    group.command("validate")(validate)
    group.command("test")(run_examples)
    group.command("diff")(diff)
    group.command("evaluate")(evaluate)
    app.add_typer(group, name="policy")


def show(config: Config = None, as_json: AsJson = False) -> None:
    """Show the policy in force: the packaged one with --config's policy.yaml over it."""
    _, policy, _ = _load(config_folder(config))
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
    _show_access(policy)
    _show_guards(policy)


def validate(config: Config = None, as_json: AsJson = False) -> None:
    """Check experts.yaml, policy.yaml with its gate and quality model, Cedar policies and every routing block of a
    folder; exit code 2 with the place of a mistake.
    """
    from crew_moe.crew.plan import AGENTS_FILE, SIDECAR_FILES, TASKS_FILE, load_plan
    from crew_moe.gating.config import build_gate

    folder = config_folder(config)
    registry, policy, _ = _load(folder)
    open_router(folder, MEMORY).close()  # reads the quality model and own factors
    crew_files = [name for name in (AGENTS_FILE, TASKS_FILE, *SIDECAR_FILES) if folder and (folder / name).is_file()]
    if folder is not None and crew_files:
        load_plan(folder).check(registry, policy)
    told = {
        "policy": policy.version,
        "registry_digest": registry.digest,
        "experts": len(registry),
        "access_rules": len(policy.access),
        "gate_checks": [check.name for check in build_gate(policy.gate).checks],
        "cedar_files": [text.name for text in policy.cedar],
        "crew_files": crew_files,
    }
    if as_json:
        write_json(told)
        return
    say(f"{len(registry)} experts (catalogue {registry.digest}) and policy {policy.version} are valid.")
    if crew_files:
        say(f"The routing blocks of {', '.join(crew_files)} are valid.")


def run_examples(
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILES]", help="Default: policies/*.yaml.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Ask the access rules the questions of example files. Exit 1 when an answer is another than expected."""
    from crew_moe.gating.examples import differences, load_examples

    folder = config_folder(config)
    registry, policy, access = _load(folder)
    examples = [example for file in files or _example_files(folder) for example in load_examples(file, registry)]
    told = [(example, differences(example, access, registry)) for example in examples]
    failed = sum(bool(found) for _, found in told)
    if as_json:
        rows = [
            {
                "name": example.name,
                "file": example.file,
                "ok": not found,
                "differences": [asdict(difference) for difference in found],
            }
            for example, found in told
        ]
        write_json({"policy": policy.version, "passed": len(told) - failed, "failed": failed, "examples": rows})
    else:
        show_table(
            ("Example", "!Result", "Differs"),
            ((example.name, "FAILED" if found else "ok", "; ".join(map(str, found))) for example, found in told),
        )
        say(f"{len(told) - failed} of {len(told)} examples pass under {policy.version}.")
    if failed:
        raise typer.Exit(1)


def _example_files(folder: Path | None) -> Sequence[Path]:
    """The examples that lie beside the Cedar policies."""
    from crew_moe.catalog import packaged_config
    from crew_moe.catalog.access import FOLDER

    place = (folder or packaged_config()) / FOLDER
    found = sorted(path for pattern in EXAMPLES for path in place.glob(pattern))
    if not found:
        raise InvalidInput(f"there are no examples in {place}", where="FILES", allowed=("paths of YAML files",))
    return found


def _show_access(policy: Policy) -> None:
    """The access rules, where there are any beside those that ship."""
    if policy.access:
        say()
        show_table(
            ("Access rule", "Who", "When", "Experts", "Unless"),
            (
                (rule.name, _words(rule.who), _words(rule.when), _experts(rule), "; ".join(map(_words, rule.unless)))
                for rule in policy.access
            ),
        )
    say()
    say("Cedar policies: " + ", ".join(text.name for text in policy.cedar))


def _show_guards(policy: Policy) -> None:
    """What stands before a call: the gate, screening, budgets."""
    from crew_moe.gating.config import build_gate, read_gate

    entry, budgets, screening = read_gate(policy.gate), policy.budgets, policy.screening
    checks = ", ".join(check.name for check in build_gate(entry).checks)
    say(f"Gate: {checks}; all experts above {entry.above} have to pass.")
    say("Screening: " + ", ".join(f"{concern} {screening.action(concern)}" for concern in Concern))
    say(f"Budgets: {budgets.on_exhausted} when one is used up; warnings from {100 * budgets.warn_at:.0f} % on.")
    if budgets.rules:
        say()
        show_table(
            ("Scope", ">Limit", "!Window", "!When used up", "!Warns from"),
            (
                (one.scope, usd(to_usd(one.limit_nano)), one.window, one.on_exhausted, f"{100 * one.warn_at:.0f} %")
                for one in budgets.rules.values()
            ),
        )


def _experts(rule: AccessRule) -> str:
    if rule.only is not None:
        return f"only {_words(rule.only)}"
    return f"not {_words(rule.forbid) or 'any'}"


def _words(conditions: Any) -> str:
    """The conditions that are set, as they stand in the file."""
    given = {name: value for name, value in asdict(conditions).items() if value not in (None, frozenset())}
    return ", ".join(
        f"{name}: {' or '.join(sorted(value)) if isinstance(value, frozenset) else str(value).lower()}"
        for name, value in given.items()
    )


def _load(folder: Path | None) -> tuple[Registry, Policy, AccessControl]:
    """Everything that a folder says of routing, checked."""
    from crew_moe.catalog import load_policy, load_registry
    from crew_moe.gating.access import access_control
    from crew_moe.strategies import STRATEGIES

    registry = load_registry(folder)
    policy = load_policy(folder, registry, STRATEGIES)
    return registry, policy, access_control(policy, registry)


def _plain(value: Any) -> Any:
    """JSON-ready: mappings keep their keys as text, sets become sorted lists, amounts text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(str(item) for item in value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float | None) else str(value)
