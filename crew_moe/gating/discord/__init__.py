"""The gate in Discord: checks and cooldowns for commands, verdicts as embeds, approvals by buttons, a sample `/ask`.

A bot that answers questions through the router, and lets leads approve what the gate holds:

    client = discord.Client(intents=discord.Intents.none())
    tree = app_commands.CommandTree(client)
    tree.add_command(ask_command(router, gatekeeper))
    serve_approvals(client, gatekeeper.desk)                          # buttons of an earlier run work too
    gatekeeper.desk.attach(ChannelApprover(client, channel_id=42))    # questions of crews go to this channel

Names load on first use and need the `discord` extra.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from crew_moe.errors import MissingExtra

if TYPE_CHECKING:
    from crew_moe.gating.discord.ask import ask_command
    from crew_moe.gating.discord.buttons import ApprovalView, ChannelApprover, serve_approvals
    from crew_moe.gating.discord.commands import VerdictFailure, dynamic_cooldown, leave, verdict_check
    from crew_moe.gating.discord.embeds import approval_embed, verdict_embed
    from crew_moe.gating.discord.people import guild_tenant, principal_of

__all__ = [
    "ApprovalView",
    "ChannelApprover",
    "VerdictFailure",
    "approval_embed",
    "ask_command",
    "dynamic_cooldown",
    "guild_tenant",
    "leave",
    "principal_of",
    "serve_approvals",
    "verdict_check",
    "verdict_embed",
]

_HOMES: Final = {
    "ApprovalView": "buttons",
    "ChannelApprover": "buttons",
    "VerdictFailure": "commands",
    "approval_embed": "embeds",
    "ask_command": "ask",
    "dynamic_cooldown": "commands",
    "guild_tenant": "people",
    "leave": "commands",
    "principal_of": "people",
    "serve_approvals": "buttons",
    "verdict_check": "commands",
    "verdict_embed": "embeds",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if find_spec("discord") is None:
        raise MissingExtra("discord", "discord")
    return getattr(import_module(f"{__name__}.{home}"), name)
