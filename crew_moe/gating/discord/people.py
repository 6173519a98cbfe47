"""Who asks, as Discord says: members with their roles, in a guild and a channel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import discord

from crew_moe.domain.principal import Principal

Interaction = discord.Interaction[Any]
TenantOf = Callable[[Interaction], "str | None"]


def guild_tenant(interaction: Interaction) -> str:
    """Every guild is a tenant of its own, so that a role in one means nothing in another; a private talk is one too."""
    if interaction.guild_id is not None:
        return f"discord-{interaction.guild_id}"
    return f"discord-dm-{interaction.user.id}"


def principal_of(interaction: Interaction, *, tenant: TenantOf = guild_tenant) -> Principal:
    """The member who acts, vouched for by Discord. `tenant` says to which tenant a guild belongs.

    Roles stand in it by name and by id. Who may name roles freely could name one like the id of another: names that are
    numbers are left out.
    """
    return Principal(
        subject=str(interaction.user.id),
        tenant=tenant(interaction),
        roles=frozenset(_roles(interaction.user)),
        workspace=None if interaction.guild_id is None else str(interaction.guild_id),
        channel=None if interaction.channel_id is None else str(interaction.channel_id),
    )


def _roles(user: discord.User | discord.Member) -> Iterator[str]:
    for role in user.roles if isinstance(user, discord.Member) else ():
        yield str(role.id)
        if not role.name.strip().isdecimal():
            yield role.name
