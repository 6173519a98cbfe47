"""`crew-moe local`: the local gate and its self-hosted experts."""

from __future__ import annotations

from typing import Final, Protocol

import typer

from crew_moe.cli.local import bench, new_expert, route, serve, train_demo, train_gate


class Command(Protocol):
    """A module of one command."""

    def register(self, app: typer.Typer) -> None: ...


COMMANDS: Final[tuple[Command, ...]] = (route, train_gate, train_demo, bench, serve, new_expert)


def register(app: typer.Typer) -> None:
    """Add the group."""
    if COMMANDS:
        group = typer.Typer(help="The local gate: self-hosted experts behind a trained gate.", no_args_is_help=True)
        for command in COMMANDS:
            command.register(group)
        app.add_typer(group, name="local")
