"""`crew-moe budget`: look at what scopes may spend and have spent, and change it; each change with its author."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from crew_moe.cli.options import AsJson, Config, State, durable, open_router
from crew_moe.cli.output import ABSENT, say, show_table, write_json
from crew_moe.errors import InvalidInput

if TYPE_CHECKING:
    from crew_moe.domain.budget import OpenCharge, ScopeStatus

PURPOSE: Final = "a budget"
NO_LIMIT: Final = "none"
SHOWN: Final = 10

Scope = Annotated[str, typer.Argument(metavar="SCOPE", help="For example tenant:acme or project:acme/web.")]
AnyScope = Annotated[str | None, typer.Argument(metavar="[SCOPE]", help="One scope; default: all.")]
Why = Annotated[str, typer.Option("--why", help="Kept with the change.")]
By = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who changes it; default: your user name.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="What scopes may spend, and have spent.", no_args_is_help=True)
    group.command("status")(status)
    group.command("set")(set_limit)
    group.command("top-up")(top_up)
    group.command("reconcile")(reconcile)
    app.add_typer(group, name="budget")


def status(scope: AnyScope = None, config: Config = None, state: State = None, as_json: AsJson = False) -> None:
    """How scopes stand in their present windows, which charges wait for their true price, and the newest changes."""
    with open_router(config, durable(state, PURPOSE)) as router:
        known = router.budgets.status()
        found = _only(known, scope) if scope else _fullest_first(known)
        waiting = router.budgets.open_charges(scope)
        changes = router.budgets.changes(SHOWN)
    if as_json:
        scopes = [one.as_dict() for one in found]
        write_json({"scopes": scopes, "open": [_charge(one) for one in waiting], "changes": [*map(dict, changes)]})
        return
    if not found:
        say("Nothing was charged to any scope, and none has a limit.")
        return
    _show(found)
    if waiting:
        say()
        show_table(
            ("Open charge", "Phase", ">Reserved", "Until", "?Decision"),
            [
                (one.id, one.phase, f"${one.reserved_usd:f}", f"{one.expires_at:%Y-%m-%d %H:%M:%S}", one.note)
                for one in waiting
            ],
        )
    if changes:
        say()
        show_table(
            ("Changed at", "Change", "Scope", "By", "Why"),
            [(row["at"][:19], row["action"], row["scope"], row["by"], row["why"]) for row in changes],
        )


def set_limit(
    scope: Scope,
    usd: Annotated[str, typer.Argument(metavar="USD", help="The limit, or 'none' to take it away.")],
    window: Annotated[
        str | None,
        typer.Option("--window", metavar="WINDOW", help="run, hour, day, month or total; default: as it was."),
    ] = None,
    why: Why = "",
    by: By = None,
    config: Config = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Give a scope a limit of its own; it comes before what policy.yaml says of the scope."""
    limit = None if usd.casefold() == NO_LIMIT else usd
    with open_router(config, durable(state, PURPOSE)) as router:
        _answer([router.budgets.set(scope, limit, window=window, by=_name(by), why=why)], as_json)


def top_up(
    scope: Scope,
    usd: Annotated[str, typer.Argument(metavar="USD", help="How much more it may spend.")],
    why: Why = "",
    by: By = None,
    config: Config = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Raise the limit of a scope."""
    with open_router(config, durable(state, PURPOSE)) as router:
        _answer([router.budgets.top_up(scope, usd, by=_name(by), why=why)], as_json)


def reconcile(
    scope: AnyScope = None,
    charge: Annotated[
        str | None, typer.Option("--charge", metavar="ID", help="An open charge whose true price is known now.")
    ] = None,
    usd: Annotated[str | None, typer.Option("--usd", metavar="USD", help="That price.")] = None,
    why: Why = "",
    by: By = None,
    config: Config = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Say that you have looked: lift the block that an overrun put on a scope, reopen a ledger that lost data, or put
    the price of one open charge right.
    """
    if (charge is None) is not (usd is None):
        raise InvalidInput(
            "an open charge and its price belong together", where="reconcile", allowed=("--charge ID --usd USD",)
        )
    with open_router(config, durable(state, PURPOSE)) as router:
        budgets, name = router.budgets, _name(by)
        if charge is not None and usd is not None:
            settled = budgets.correct(charge, usd, by=name, why=why)
            found = [one for one in budgets.status() if one.scope in settled.scopes]
        else:
            found = list(budgets.reconcile(scope, by=name, why=why))
    _answer(found, as_json)


def _answer(found: Sequence[ScopeStatus], as_json: bool) -> None:
    if as_json:
        write_json({"scopes": [one.as_dict() for one in found]})
    elif found:
        _show(found)
    else:
        say("No scope was blocked.")


def _show(found: Sequence[ScopeStatus]) -> None:
    show_table(
        ("Scope", ">Limit", ">Spent", ">Reserved", ">Left", "Window", "?>Overrun", "?Blocked"),
        [
            (
                one.scope,
                ABSENT if one.limit_usd is None else f"${one.limit_usd:f}",
                f"${one.settled_usd:f}",
                f"${one.reserved_usd:f}",
                ABSENT if one.available_usd is None else f"${one.available_usd:f}",
                one.window,
                f"${one.overrun_usd:f}" if one.overrun_usd else ABSENT,
                "yes" if one.blocked else ABSENT,
            )
            for one in found
        ],
    )


def _only(known: Sequence[ScopeStatus], scope: str) -> list[ScopeStatus]:
    found = [one for one in known if one.scope == scope]
    if not found:
        names = [one.scope for one in known]
        raise InvalidInput(f"the ledger knows no scope '{scope}'", where="SCOPE", value=scope, allowed=names[:SHOWN])
    return found


def _fullest_first(known: Sequence[ScopeStatus]) -> list[ScopeStatus]:
    """Limited scopes first, those with the smallest share left on top."""

    def order(one: ScopeStatus) -> tuple[bool, float, str]:
        left, limit = one.available_usd, one.limit_usd
        return limit is None, 0.0 if left is None or not limit else float(left / limit), one.scope

    return sorted(known, key=order)


def _charge(one: OpenCharge) -> dict[str, Any]:
    return {
        "id": one.id,
        "phase": one.phase.value,
        "scopes": list(one.scopes),
        "reserved_usd": f"{one.reserved_usd:f}",
        "expires_at": one.expires_at.isoformat(),
        "decision_id": one.note,
    }


def _name(by: str | None) -> str:
    return by or getpass.getuser()
