"""The command line `crew-moe`: one file per group of commands, each loading what it needs when it runs."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command (default: the process's own arguments); 0 done, 1 refused or failed, 2 usage or configuration."""
    from crew_moe.cli.edge import run

    return run(arguments)
