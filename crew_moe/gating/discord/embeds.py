"""Verdicts, questions and answers as embeds. Nothing of a prompt stands in them, and nothing in them pings anybody."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import discord

from crew_moe.domain.approval import Approval, ApprovalState
from crew_moe.domain.money import to_usd
from crew_moe.domain.outcome import Completion
from crew_moe.domain.verdict import Ruling, Verdict
from crew_moe.gating.names import shown

MAX_FIELD_CHARS: Final = 1000
MAX_ANSWER_CHARS: Final = 4000
_RULINGS: Final = {
    Ruling.ALLOW: ("Allowed", discord.Colour.green()),
    Ruling.DOWNGRADE: ("Goes on with a lower tier", discord.Colour.gold()),
    Ruling.HOLD: ("Waits for approval", discord.Colour.orange()),
    Ruling.DENY: ("Denied", discord.Colour.red()),
}
_STATES: Final = {
    ApprovalState.PENDING: ("Approval needed", discord.Colour.orange()),
    ApprovalState.APPROVED: ("Approved", discord.Colour.green()),
    ApprovalState.USED: ("Approved and used", discord.Colour.green()),
    ApprovalState.DENIED: ("Denied", discord.Colour.red()),
    ApprovalState.EXPIRED: ("Nobody answered in time", discord.Colour.light_grey()),
}


def verdict_embed(verdict: Verdict, *, expert_id: str = "", max_cost_usd: Decimal | None = None) -> discord.Embed:
    """What the gate said of one call: ruling, reason, expert, and what it may cost at most."""
    title, colour = _RULINGS[verdict.ruling]
    embed = discord.Embed(title=title, colour=colour, description=_plain(verdict.reason) or None)
    fields = {
        "Expert": expert_id,
        "Cost": "" if max_cost_usd is None else f"at most {_usd(max_cost_usd)}",
        "Tier": f"{verdict.tier} at most" if verdict.tier is not None else "",
        "Again in": "" if verdict.retry_after_s is None else f"{verdict.retry_after_s:g} s",
        "Approval": verdict.approval_id or "",
        "Check": verdict.check,
    }
    return _with(embed, fields)


def approval_embed(approval: Approval) -> discord.Embed:
    """One question to a person, and its answer once there is one."""
    title, colour = _STATES[approval.state]
    embed = discord.Embed(
        title=title, colour=colour, description=_plain(approval.summary), timestamp=approval.expires_at
    )
    embed.set_footer(text=f"{approval.id}, good until")
    fields = {
        "Expert": approval.expert_id,
        "Cost": f"at most {_usd(to_usd(approval.max_cost_nano))}",
        "Asked by": approval.asked_by or "",
        "May answer": ", ".join(approval.roles),
        "Answered by": approval.decided_by or "",
        "Why": approval.why,
    }
    return _with(embed, fields)


def completion_embed(completion: Completion) -> discord.Embed:
    """An answer, who gave it and what it cost."""
    text = completion.text
    cut = text if len(text) <= MAX_ANSWER_CHARS else f"{text[:MAX_ANSWER_CHARS]}..."
    embed = discord.Embed(title="Answer", colour=discord.Colour.green(), description=cut)
    return _with(embed, {"Expert": completion.expert_id, "Cost": _usd(completion.cost_usd)})


def refusal_embed(reason: str) -> discord.Embed:
    """Why there is no answer, where it was not the gate."""
    return discord.Embed(title="No answer", colour=discord.Colour.red(), description=_plain(reason))


def _with(embed: discord.Embed, fields: dict[str, str]) -> discord.Embed:
    for name, value in fields.items():
        if value:
            embed.add_field(name=name, value=_plain(value))
    return embed


def _plain(text: str) -> str:
    """Text that Discord shows as it is written: no mark-up, no mention."""
    return discord.utils.escape_mentions(discord.utils.escape_markdown(shown(text, MAX_FIELD_CHARS)))


def _usd(amount: Decimal) -> str:
    return f"${amount.normalize():f}"
