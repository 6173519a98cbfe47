"""Who asks: as authentication says, never as a prompt or a request's body does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """An authenticated caller. `workspace` is a guild in Discord's words; absent parts are unknown.

    What it says takes the place of what a request says of itself.
    """

    subject: str
    tenant: str | None = None
    roles: frozenset[str] = frozenset()
    workspace: str | None = None
    channel: str | None = None
