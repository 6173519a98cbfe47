"""Options that several commands share, and what they open."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from crew_moe.errors import InvalidInput

if TYPE_CHECKING:
    from crew_moe.router import Router

MEMORY: Final = ":memory:"

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="DIR", help="Folder with experts.yaml, policy.yaml, agents.yaml, tasks.yaml."),
]
Log = Annotated[
    str, typer.Option("--log", metavar="LOG", help="Decisions: a state's URL, or its rows in a .jsonl file.")
]
State = Annotated[
    str | None,
    typer.Option("--state", metavar="URL", help="Where state is kept: sqlite:///path.db, redis://host or :memory:."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on stdout.")]
Live = Annotated[bool, typer.Option("--live", help="Keep to experts that can be called now: key set, not retired.")]
TaskTypeName = Annotated[str | None, typer.Option("--task-type", metavar="TYPE", help="One of the 12 task types.")]
Tenant = Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="Whose requests.")]
By = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who does it; default: your user name.")]


def open_router(config: Path | None, state: str | None, **options: Any) -> Router:
    """A router over a folder and a state URL; logs go to stderr. `options` as for Router.from_config."""
    from crew_moe.router import Router

    return Router.from_config(config, state=state, **options)


def config_folder(config: Path | None) -> Path | None:
    """The folder given, else the one that CREW_MOE_CONFIG names; None for the packaged one alone."""
    from crew_moe.settings import read_settings

    return config or read_settings().config


def durable(state: str | None, purpose: str) -> str:
    """The state URL given or set in the environment; raises InvalidInput when it would end with this process."""
    from crew_moe.settings import read_settings

    url = state or read_settings().state
    if url == MEMORY:
        raise InvalidInput(
            f"{purpose} needs a state that outlives this command",
            where="--state",
            allowed=("sqlite:///path.db", "redis://host:6379/0"),
        )
    return url


def logged_rows(log: str) -> Iterator[Mapping[str, Any]]:
    """The rows of a decision log, oldest first: of a state's URL, or of a .jsonl file. Raises InvalidInput."""
    from crew_moe.screening.dataset import read_rows
    from crew_moe.state import read_log

    yield from read_rows(Path(log), ("kind",)) if log.endswith(".jsonl") else read_log(log)


def shown_state(url: str) -> str:
    """The URL, of a state or of a server, as it may be shown: without user and password."""
    scheme, mark, rest = url.partition("://")
    credentials, at, place = rest.rpartition("@")
    return f"{scheme}{mark}...@{place}" if credentials and at and scheme.startswith(("redis", "http")) else url


def user_name() -> str:
    """Who sits at this machine, by name; "unknown" where the system has no name for the user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # which of them, differs between versions of Python
        return "unknown"


def one_of(word: str | None, allowed: Sequence[str], where: str) -> str | None:
    """The word itself; raises InvalidInput, with the closest match, when it is none of those allowed."""
    if word is not None and word not in allowed:
        raise InvalidInput(f"'{word}' is not known", where=where, value=word, allowed=allowed)
    return word
