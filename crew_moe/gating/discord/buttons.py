"""Approve and Deny: buttons under a question, which outlive the bot that sent them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Self
from weakref import WeakKeyDictionary

import discord

from crew_moe.domain.approval import Approval
from crew_moe.errors import CrewMoEError
from crew_moe.gating.answer import Answer, Outcome
from crew_moe.gating.approval import Desk
from crew_moe.gating.discord.embeds import approval_embed
from crew_moe.gating.discord.people import Interaction, TenantOf, guild_tenant, principal_of
from crew_moe.ports import EventSink
from crew_moe.telemetry.events import LogSink

_APPROVE: Final = "approve"
_LOOKS: Final = {
    _APPROVE: ("Approve", discord.ButtonStyle.success),
    "deny": ("Deny", discord.ButtonStyle.danger),
}
_SHOWN: Final = frozenset({Outcome.TAKEN, Outcome.ALREADY, Outcome.EXPIRED})  # the question is over: show its end

Button = discord.ui.Button[discord.ui.View]


@dataclass(frozen=True, slots=True)
class _Service:
    desk: Desk
    tenant: TenantOf


_SERVICES: Final[WeakKeyDictionary[discord.Client, _Service]] = WeakKeyDictionary()


def serve_approvals(client: discord.Client, desk: Desk, *, tenant: TenantOf = guild_tenant) -> None:
    """Answer the buttons of all questions, those of an earlier run too. `tenant` says to whom a guild belongs."""
    _SERVICES[client] = _Service(desk, tenant)
    client.add_dynamic_items(ApprovalButton)


class ApprovalButton(
    discord.ui.DynamicItem[Button], template=r"crew-moe:(?P<answer>approve|deny):(?P<id>[A-Za-z0-9_-]{6,64})"
):
    """One of the two buttons. What it is about stands in its `custom_id`, so that nothing has to be remembered."""

    def __init__(self, approval_id: str, answer: str) -> None:
        label, style = _LOOKS[answer]
        super().__init__(discord.ui.Button(label=label, style=style, custom_id=f"crew-moe:{answer}:{approval_id}"))
        self.approval_id = approval_id
        self.approve = answer == _APPROVE

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """The button that was pressed, made again from its id."""
        del interaction, item
        return cls(match["id"], match["answer"])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Take the answer of whoever pressed, if the desk does."""
        service = _SERVICES.get(interaction.client)
        if service is None:
            await interaction.response.send_message("This bot answers no approvals.", ephemeral=True)
            return
        answer = await asyncio.to_thread(
            service.desk.answer,
            self.approval_id,
            approve=self.approve,
            by=principal_of(interaction, tenant=service.tenant),
            why=f"button in channel {interaction.channel_id}",
        )
        await _show(interaction, answer)


class ApprovalView(discord.ui.View):
    """Both buttons for one question; it never times out, the question does."""

    def __init__(self, approval_id: str) -> None:
        super().__init__(timeout=None)
        for answer in _LOOKS:
            self.add_item(ApprovalButton(approval_id, answer))


class ChannelApprover:
    """Implements gating.approval.Approver: brings every new question to one channel. May be told from any thread."""

    def __init__(self, client: discord.Client, channel_id: int, *, sink: EventSink | None = None) -> None:
        self._client = client
        self._channel_id = channel_id
        self._sink = sink or LogSink()

    def asked(self, approval: Approval) -> None:
        """Send the question with its buttons; raises while the client does not run."""
        on_loop(self._client, lambda: self._send(approval))

    async def _send(self, approval: Approval) -> None:
        channel = self._client.get_partial_messageable(self._channel_id)
        try:
            await channel.send(
                embed=approval_embed(approval),
                view=ApprovalView(approval.id),
                allowed_mentions=discord.AllowedMentions.none(),
            )
        except (discord.DiscordException, OSError) as error:
            fields = {"approval_id": approval.id, "approver": type(self).__name__, "error": type(error).__name__}
            self._sink.emit("approver_failed", **fields)


def on_loop(client: discord.Client, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Start `work` on the client's loop, from any thread. Raises CrewMoEError while the client does not run."""
    loop: object = client.loop  # before its start a client has a stand-in there, which has nothing of a loop
    if not isinstance(loop, asyncio.AbstractEventLoop) or not loop.is_running():
        raise CrewMoEError("the Discord client does not run")
    asyncio.run_coroutine_threadsafe(work(), loop)


async def _show(interaction: Interaction, answer: Answer) -> None:
    """The question as it stands now for all to see, or why this member's answer was not taken for him alone."""
    if answer.approval is not None and answer.outcome in _SHOWN:
        await interaction.response.edit_message(embed=approval_embed(answer.approval), view=None)
        if not answer.ok:
            await interaction.followup.send(str(answer), ephemeral=True)
    else:
        mentions = discord.AllowedMentions.none()
        await interaction.response.send_message(str(answer), ephemeral=True, allowed_mentions=mentions)
