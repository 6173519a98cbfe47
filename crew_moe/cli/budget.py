"""`crew-moe budget`: look at what scopes may spend and have spent, and change it; each change with its author."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from crew_moe.cli.options import AsJson, By, Config, State, durable, open_router, user_name
from crew_moe.cli.output import ABSENT, say, show_table, usd, write_json
from crew_moe.domain.scope import written_scope
from crew_moe.errors import InvalidInput, closest

if TYPE_CHECKING:
    from crew_moe.domain.budget import OpenCharge, ScopeStatus

PURPOSE: Final = "a budget"
NO_LIMIT: Final = "none"
CHANGES: Final = 10
ROWS: Final = 20  # of a table, unless all are asked for
NAMED: Final = 10  # scopes that an error lists
# By action: which of the amounts after it tells what came of it, and in which words.
_AMOUNTS: Final[Mapping[str, tuple[str, str, str]]] = {
    "set": ("limit_usd", "set to", "limit taken away"),
    "top_up": ("limit_usd", "topped up to", ""),
    "correct": ("charged_usd", "charge corrected to", ""),
}

Scope = Annotated[str, typer.Argument(metavar="SCOPE", help="For example tenant:acme or project:acme/web.")]
AnyScope = Annotated[str | None, typer.Argument(metavar="[SCOPE]", help="One scope; default: all.")]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="Kept with the change.")]

Row = TypeVar("Row")


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="What scopes may spend, and have spent.", no_args_is_help=True, rich_markup_mode=None)
    group.command("status")(status)
    group.command("set")(set_limit)
    group.command("top-up")(top_up)
    group.command("reconcile")(reconcile)
    app.add_typer(group, name="budget")


def status(
    scope: AnyScope = None,
    whole: Annotated[bool, typer.Option("--all", help=f"Every row, not the first {ROWS}.")] = False,
    config: Config = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """How scopes stand in their present windows, which charges wait for their true price, and the newest changes."""
    if scope is not None:
        scope = written_scope(scope, where="SCOPE")
    with open_router(config, durable(state, PURPOSE)) as router:
        known = router.budgets.status()
        found = _fullest_first(known) if scope is None else _only(known, scope)
        waiting = router.budgets.open_charges(scope)
        changes = router.budgets.changes(CHANGES)
    if as_json:
        scopes = [one.as_dict() for one in found]
        write_json({"scopes": scopes, "open": [_charge(one) for one in waiting], "changes": [*map(dict, changes)]})
        return
    if not found:
        say("Nothing was charged to any scope yet, and none has a limit of its own.")
    _show(_first(found, whole))
    _show_open(_first(waiting, whole))
    _show_changes(changes)
    hidden = 0 if whole else max(0, len(found) - ROWS) + max(0, len(waiting) - ROWS)
    if hidden:
        say(f"{hidden} more rows: --all shows them.")


def set_limit(
    scope: Scope,
    amount: Annotated[str, typer.Argument(metavar="USD", help="The limit, or 'none' to take it away.")],
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
    limit = None if amount.casefold() == NO_LIMIT else amount
    with open_router(config, durable(state, PURPOSE)) as router:
        _answer([router.budgets.set(scope, limit, window=window, by=by or user_name(), why=why)], as_json)


def top_up(
    scope: Scope,
    amount: Annotated[str, typer.Argument(metavar="USD", help="How much more it may spend.")],
    why: Why = "",
    by: By = None,
    config: Config = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Raise the limit of a scope."""
    with open_router(config, durable(state, PURPOSE)) as router:
        _answer([router.budgets.top_up(scope, amount, by=by or user_name(), why=why)], as_json)


def reconcile(
    scope: AnyScope = None,
    charge: Annotated[
        str | None, typer.Option("--charge", metavar="ID", help="An open charge whose true price is known now.")
    ] = None,
    amount: Annotated[str | None, typer.Option("--usd", metavar="USD", help="That price.")] = None,
    why: Why = "",
    by: By = None,
    config: Config = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Say that you have looked: lift the block that an overrun put on a scope, reopen a ledger that lost data, or put
    the price of one open charge right.
    """
    if (charge is None) is not (amount is None) or (charge is not None and scope is not None):
        raise InvalidInput(
            "either a scope, or an open charge and its price",
            where="reconcile",
            allowed=("SCOPE", "--charge ID --usd USD"),
        )
    with open_router(config, durable(state, PURPOSE)) as router:
        budgets, name = router.budgets, by or user_name()
        if charge is not None and amount is not None:
            settled = budgets.correct(charge, amount, by=name, why=why)
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
    """Scopes as a table; overruns only where there are any, and never hidden by a narrow terminal."""
    if not found:
        return
    overrun = any(one.overrun_usd for one in found)
    show_table(
        ("Scope", ">Limit", ">Spent", ">Reserved", ">Left", "?Window", *([">Overrun"] if overrun else [])),
        ([*_cells(one), *([usd(one.overrun_usd)] if overrun else [])] for one in found),
    )
    blocked = ", ".join(one.scope for one in found if one.blocked)
    if blocked:
        say(f"Blocked until reconciled: {blocked}.")


def _cells(one: ScopeStatus) -> list[object]:
    limit, left = (None if amount is None else usd(amount) for amount in (one.limit_usd, one.available_usd))
    return [one.scope, limit, usd(one.settled_usd), usd(one.reserved_usd), left, one.window]


def _show_open(waiting: Sequence[OpenCharge]) -> None:
    if waiting:
        say()
        show_table(
            ("!Open charge", "?Phase", ">Reserved", "!Until (UTC)", "?Decision"),
            (
                (one.id, one.phase, usd(one.reserved_usd), f"{one.expires_at:%Y-%m-%d %H:%M:%S}", one.note or ABSENT)
                for one in waiting
            ),
        )


def _show_changes(changes: Sequence[Mapping[str, Any]]) -> None:
    if changes:
        say()
        show_table(
            ("!Changed at (UTC)", "Change", "Scope", "By", "?Why"),
            (
                (row["at"][:19].replace("T", " "), _change(row), row["scope"], row["by"], row["why"] or ABSENT)
                for row in changes
            ),
        )


def _change(row: Mapping[str, Any]) -> str:
    """What was done, and what came of it: `set to $50.000000`."""
    action, after = row["action"], row["after"]
    if action not in _AMOUNTS:
        return str(action)
    name, done, taken_away = _AMOUNTS[action]
    return taken_away if after[name] is None else f"{done} {usd(after[name])}"


def _first(rows: Sequence[Row], whole: bool) -> Sequence[Row]:
    return rows if whole else rows[:ROWS]


def _only(known: Sequence[ScopeStatus], scope: str) -> list[ScopeStatus]:
    found = [one for one in known if one.scope == scope]
    if not found:
        names = sorted(one.scope for one in known)
        near = closest(scope, names)
        shown = dict.fromkeys([*([] if near is None else [near]), *names[:NAMED]])
        raise InvalidInput(f"the ledger knows no scope '{scope}'", where="SCOPE", value=scope, allowed=shown)
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
