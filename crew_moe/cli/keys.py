"""`crew-moe keys`: API keys for those who call the router over HTTP or MCP. Only what proves a key is kept."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from crew_moe.cli.options import AsJson, Tenant, one_of
from crew_moe.cli.output import ABSENT, err, harmless, say, show_table, write_json
from crew_moe.errors import InvalidInput

if TYPE_CHECKING:
    from crew_moe.auth.keys_file import KeyEntry

MOST_DAYS: Final = 36_500
ONCE: Final = "This is the only time that the key is shown; its hash is kept in {file} as '{id}'."

File = Annotated[
    Path | None, typer.Option("--file", metavar="FILE", help="The file of keys; default: CREW_MOE_API_KEYS.")
]
Subject = Annotated[str, typer.Option("--subject", metavar="NAME", help="Who will use it: a person or a program.")]
Operator = Annotated[bool, typer.Option("--operator", help="For all tenants instead of one; needs router:admin.")]
Scopes = Annotated[
    list[str] | None, typer.Option("--scope", metavar="SCOPE", help="May be repeated; default: router:read.")
]
Roles = Annotated[
    list[str] | None, typer.Option("--role", metavar="NAME", help="For rules of access; may be repeated.")
]
Days = Annotated[float | None, typer.Option("--expires-days", metavar="DAYS", help="Default: it never expires.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="API keys of those who call the router.", no_args_is_help=True, rich_markup_mode=None)
    group.command("new")(new)
    group.command("list")(list_keys)
    group.command("revoke")(revoke)
    app.add_typer(group, name="keys")


def new(
    subject: Subject,
    tenant: Tenant = None,
    operator: Operator = False,
    scope: Scopes = None,
    role: Roles = None,
    expires_days: Days = None,
    file: File = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it, once. Routers that use the file accept it with the next request."""
    from crew_moe.auth.caller import AccessScope
    from crew_moe.auth.keys import new_key
    from crew_moe.auth.keys_file import change_keys

    if operator is (tenant is not None):
        raise InvalidInput("whose key is it?", where="keys new", allowed=("--tenant NAME", "--operator"))
    wanted = dict.fromkeys(scope or [AccessScope.READ])
    for word in wanted:
        one_of(word, list(AccessScope), "--scope")
    path = _file(file)
    key, entry = new_key(
        subject=subject,
        tenant=tenant,
        scopes=[AccessScope(word) for word in wanted],
        roles=list(dict.fromkeys(role or ())),
        now=datetime.now(UTC),
        life=_life(expires_days),
    )
    change_keys(path, lambda entries: [*entries, entry])
    if as_json:
        write_json({"key": key, **_shown(entry)})
        return
    sys.stdout.write(f"{key}\n")  # whole, however narrow the terminal is, and alone, for scripts
    err().print(harmless(ONCE.format(file=path, id=entry.id)))


def list_keys(file: File = None, as_json: AsJson = False) -> None:
    """The keys of a file: whose they are, what they may do, and whether they are in force."""
    from crew_moe.auth.keys_file import read_keys

    rows = [_shown(entry) for entry in read_keys(_file(file))]
    if as_json:
        write_json(rows)
    elif rows:
        show_table(("!Id", "Subject", "Tenant", "Scopes", "?Roles", "!State", "?!Until (UTC)"), map(_cells, rows))
    else:
        say("There are no keys yet.")


def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `keys list` shows it.")],
    file: File = None,
    as_json: AsJson = False,
) -> None:
    """Withdraw a key for good. Routers that use the file refuse it with the next request; no restart is needed."""
    from crew_moe.auth.keys import PREFIX
    from crew_moe.auth.keys_file import change_keys, read_keys

    path = _file(file)
    wanted = key_id.split("_")[1] if key_id.startswith(PREFIX) else key_id
    known = [entry.id for entry in read_keys(path)]
    if wanted not in known:
        raise InvalidInput("no key has this id", where="ID", value=wanted, allowed=known)
    change_keys(
        path,
        lambda entries: [one.model_copy(update={"revoked": True}) if one.id == wanted else one for one in entries],
    )
    if as_json:
        write_json({"id": wanted, "state": "revoked"})
    else:
        say(f"The key {wanted} is revoked.")


def _file(given: Path | None) -> Path:
    """The file of keys given or set in the environment; raises InvalidInput when there is none."""
    from crew_moe.settings import read_settings

    path = given or read_settings().api_keys
    if path is None:
        raise InvalidInput(
            "which file of keys?", where="keys", allowed=("--file keys.yaml", "CREW_MOE_API_KEYS in the environment")
        )
    return path


def _life(days: float | None) -> timedelta | None:
    if days is None:
        return None
    if not (math.isfinite(days) and 0 < days <= MOST_DAYS):
        raise InvalidInput(
            f"{days:g} is no life", where="--expires-days", allowed=(f"a number of days above 0, up to {MOST_DAYS:,}",)
        )
    return timedelta(days=days)


def _shown(entry: KeyEntry) -> dict[str, Any]:
    """A key without its hash, JSON-ready."""
    expired = entry.expired(datetime.now(UTC))
    return {
        "id": entry.id,
        "subject": entry.subject,
        "tenant": entry.tenant,
        "operator": entry.operator,
        "scopes": [scope.value for scope in entry.scopes],
        "roles": list(entry.roles),
        "state": "revoked" if entry.revoked else "expired" if expired else "in force",
        "created_at": _utc(entry.created_at),
        "expires_at": _utc(entry.expires_at) if entry.expires_at else None,
    }


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _cells(row: Mapping[str, Any]) -> Sequence[object]:
    until = row["expires_at"]
    return (
        row["id"],
        row["subject"],
        row["tenant"] or "all (operator)",
        " ".join(row["scopes"]) or ABSENT,
        " ".join(row["roles"]) or ABSENT,
        row["state"],
        until[:16].replace("T", " ") if until else ABSENT,
    )
