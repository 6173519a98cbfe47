"""The gate before slash commands: a check with the gate's verdict, and cooldowns that all processes of a bot share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import ceil
from typing import Any, Final, NamedTuple, TypeVar

import discord
from discord import app_commands

from crew_moe.domain.meter import Busy
from crew_moe.domain.verdict import GateContext
from crew_moe.gating.cooldown import Bucket, calls_of, pace
from crew_moe.gating.discord.embeds import verdict_embed
from crew_moe.gating.discord.people import Interaction, TenantOf, guild_tenant
from crew_moe.gating.gated import said
from crew_moe.gating.gatekeeper import Admission, Gatekeeper
from crew_moe.ports import Clock, Meters

T = TypeVar("T")
ADMISSION: Final = "crew_moe_admission"


class VerdictFailure(app_commands.CheckFailure):
    """The gate did not let a command run; the member has been told. `admission` holds the verdict."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        super().__init__(said(admission.verdict))


class _Caller(NamedTuple):
    tenant: str | None
    user: str | None
    workspace: str | None
    channel: str | None


def verdict_check(gatekeeper: Gatekeeper, context_of: Callable[[Interaction], GateContext]) -> Callable[[T], T]:
    """A check for a command: it runs if the gate lets the call pass that `context_of` makes of the interaction.

    Else the member alone sees why, and VerdictFailure goes to the command's error handler. The command calls `leave`
    when it is done, so that its places are free at once.
    """

    async def predicate(interaction: Interaction) -> bool:
        admission = await gatekeeper.aadmit_at_once(context_of(interaction))
        if not admission.allowed:
            await _show(interaction, admission)
            raise VerdictFailure(admission)
        interaction.extras[ADMISSION] = admission
        return True

    return app_commands.check(predicate)


async def leave(interaction: Interaction, gatekeeper: Gatekeeper) -> None:
    """The command that `verdict_check` let run is done."""
    admission = interaction.extras.pop(ADMISSION, None)
    if admission is not None:
        await asyncio.to_thread(gatekeeper.leave, admission, made=True)


def dynamic_cooldown(
    meters: Meters,
    factory: Callable[[Interaction], Any],
    *,
    clock: Clock,
    bucket: Bucket = Bucket.USER,
    tenant: TenantOf = guild_tenant,
) -> Callable[[T], T]:
    """As discord.py's own `dynamic_cooldown`, counted in the shared store and by its buckets.

    `factory` (async too) gives an `app_commands.Cooldown` for an interaction, or None for no cooldown at all. Raises
    CommandOnCooldown, with the time to wait, to the command's error handler.
    """

    async def predicate(interaction: Interaction) -> bool:
        cooldown: app_commands.Cooldown | None = await discord.utils.maybe_coroutine(factory, interaction)
        if cooldown is None:
            return True
        command = interaction.command
        name = f"discord.{command.qualified_name if command else ''}.{cooldown.rate:g}.{cooldown.per:g}"
        caller = _caller(interaction, tenant)
        demand = calls_of(name.replace(":", "_"), bucket, caller, rate=pace(cooldown.rate, cooldown.per))
        now = clock.now()
        found = await asyncio.to_thread(meters.take, [demand], now)
        if isinstance(found, Busy):
            raise app_commands.CommandOnCooldown(cooldown, float(max(1, ceil((found.until - now).total_seconds()))))
        return True

    return app_commands.check(predicate)


def _caller(interaction: Interaction, tenant: TenantOf) -> _Caller:
    return _Caller(
        tenant=tenant(interaction),
        user=str(interaction.user.id),
        workspace=None if interaction.guild_id is None else str(interaction.guild_id),
        channel=None if interaction.channel_id is None else str(interaction.channel_id),
    )


async def _show(interaction: Interaction, admission: Admission) -> None:
    context = admission.context
    embed = verdict_embed(admission.verdict, expert_id=context.expert_id, max_cost_usd=context.max_cost_usd)
    if interaction.response.is_done():
        await interaction.followup.send(embed=embed, ephemeral=True)
    else:
        await interaction.response.send_message(embed=embed, ephemeral=True)
