"""The sample command `/ask`: a question goes through the router and its gate; what the gate says is shown."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final, Protocol

import discord
from discord import app_commands

from crew_moe.domain.approval import Approval
from crew_moe.domain.decision import Infeasible
from crew_moe.domain.outcome import Attempt, Completion, ErrorClass
from crew_moe.domain.principal import Principal
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.verdict import Ruling, Verdict
from crew_moe.errors import CrewMoEError, ExecutionFailed
from crew_moe.gating.discord.buttons import ApprovalView, on_loop
from crew_moe.gating.discord.embeds import approval_embed, completion_embed, refusal_embed, verdict_embed
from crew_moe.gating.discord.people import Interaction, TenantOf, guild_tenant, principal_of
from crew_moe.gating.gated import GateRefused
from crew_moe.gating.gatekeeper import Gatekeeper

MAX_WAIT_S: Final = 840.0  # Discord takes changes of an answer for 15 minutes
_STOPPED: Final = frozenset({ErrorClass.DENIED, ErrorClass.HELD})
_ASKING: ContextVar[Interaction | None] = ContextVar("crew_moe_asking", default=None)


class RouterLike(Protocol):
    """What `/ask` needs of a router, whose calls pass the gate by themselves."""

    async def acomplete(self, request: RoutingRequest, *, principal: Principal) -> Completion | Infeasible: ...


def ask_command(
    router: RouterLike,
    gatekeeper: Gatekeeper,
    *,
    name: str = "ask",
    tenant: TenantOf = guild_tenant,
    max_wait_s: float = MAX_WAIT_S,
) -> app_commands.Command[Any, Any, Any]:
    """The command `/ask question`, to be added to a bot's tree once; `gatekeeper` is the one of the router.

    While a question waits for approval its buttons stand under it. Whoever asks is known by Discord alone: his guild,
    channel and roles are what the gate is told, whatever the question says.
    """
    gatekeeper.desk.attach(_Under())
    deadline_ms = min(max_wait_s, MAX_WAIT_S) * 1000.0

    @app_commands.command(name=name, description="Ask the best expert that your budget and your role allow")
    @app_commands.describe(question="What you want to know")
    async def ask(interaction: discord.Interaction[Any], question: app_commands.Range[str, 1, 6000]) -> None:
        await interaction.response.defer(thinking=True)
        token = _ASKING.set(interaction)
        try:
            request = RoutingRequest(text=question, deadline_ms=deadline_ms)
            answer = await router.acomplete(request, principal=principal_of(interaction, tenant=tenant))
            embed = refusal_embed(str(answer)) if isinstance(answer, Infeasible) else completion_embed(answer)
        except CrewMoEError as error:
            embed = _refused(error)
        finally:
            _ASKING.reset(token)
        await interaction.edit_original_response(embed=embed, view=None)

    return ask


class _Under:
    """Implements gating.approval.Approver: the question stands under the command that made it necessary."""

    def asked(self, approval: Approval) -> None:
        interaction = _ASKING.get()
        if interaction is not None:
            on_loop(interaction.client, lambda: self._show(interaction, approval))

    @staticmethod
    async def _show(interaction: Interaction, approval: Approval) -> None:
        await interaction.edit_original_response(embed=approval_embed(approval), view=ApprovalView(approval.id))


def _refused(error: CrewMoEError) -> discord.Embed:
    """What stopped the call: the gate's verdict where it was the gate."""
    if isinstance(error, GateRefused):
        context = error.context
        return verdict_embed(error.verdict, expert_id=context.expert_id, max_cost_usd=context.max_cost_usd)
    stopped = _stopped(error)
    if stopped is None:
        return refusal_embed(str(error))
    return verdict_embed(Verdict(ruling=Ruling.DENY, reason=stopped.detail), expert_id=stopped.expert_id)


def _stopped(error: CrewMoEError) -> Attempt | None:
    """The last attempt that the gate stopped."""
    attempts: tuple[Attempt, ...] = error.attempts if isinstance(error, ExecutionFailed) else ()
    return next((attempt for attempt in reversed(attempts) if attempt.error in _STOPPED), None)
