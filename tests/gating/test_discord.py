"""Members, embeds and buttons in Discord, with real objects of discord.py and no network."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import discord
import pytest

import crew_moe.gating.discord as gating_discord
from crew_moe.domain.approval import Approval, ApprovalState
from crew_moe.domain.expert import Tier
from crew_moe.domain.principal import Principal
from crew_moe.domain.verdict import Ruling, Verdict
from crew_moe.errors import MissingExtra
from crew_moe.gating.discord import (
    ApprovalView,
    ChannelApprover,
    approval_embed,
    principal_of,
    serve_approvals,
    verdict_embed,
)
from crew_moe.gating.discord.buttons import ApprovalButton
from crew_moe.telemetry.events import Recorder
from tests.gating.discord_bot import Bot
from tests.gating.given import Stage, call

LEAD, MEMBER = 42, 7  # ids of users
TENANT = "discord-100"


@pytest.fixture
async def bot(monkeypatch: pytest.MonkeyPatch) -> Bot:
    return await Bot(monkeypatch).start()


def question(stage: Stage, **fields: Any) -> Approval:
    """A member's question, which leads may answer."""
    return stage.desk.ask(call(user=str(MEMBER), tenant=TENANT, **fields), roles=["lead"])


async def test_member_is_known_by_guild_channel_and_roles(bot: Bot) -> None:
    who = principal_of(bot.interaction(MEMBER, "lead", "dev"))

    assert who == Principal(
        subject="7",
        tenant=TENANT,
        roles=frozenset({"lead", "301", "dev", "302", "@everyone", "100"}),
        workspace="100",
        channel="200",
    )


async def test_role_named_like_the_id_of_another_is_known_by_its_own_id_alone(bot: Bot) -> None:
    assert principal_of(bot.interaction(MEMBER, "304")).roles == {"305", "@everyone", "100"}


async def test_roles_of_an_unknown_guild_are_no_roles(bot: Bot) -> None:
    stranger = principal_of(bot.interaction(MEMBER, "lead", guild_id=666))

    assert (stranger.tenant, "lead" in stranger.roles) == ("discord-666", False)


async def test_private_talk_has_no_workspace_and_no_roles(bot: Bot) -> None:
    alone = principal_of(bot.interaction(MEMBER, guild_id=None))

    assert (alone.tenant, alone.workspace, alone.roles) == ("discord-dm-7", None, frozenset())


async def test_bot_may_say_whose_tenant_a_guild_is(bot: Bot) -> None:
    assert principal_of(bot.interaction(MEMBER), tenant=lambda _: "acme").tenant == "acme"


@pytest.mark.parametrize("ruling", list(Ruling))
def test_every_verdict_has_an_embed(ruling: Ruling) -> None:
    verdict = Verdict(
        ruling=ruling, check="has_role", reason="needs *the* role @everyone", tier=Tier.FAST, retry_after_s=3
    )

    shown = verdict_embed(verdict, expert_id="o1", max_cost_usd=Decimal("0.150"))

    fields = {field.name: field.value for field in shown.fields}
    assert (fields["Expert"], fields["Cost"], fields["Again in"]) == ("o1", "at most $0.15", "3 s")
    assert shown.description == "needs \\*the\\* role @\u200beveryone"


@pytest.mark.parametrize("state", list(ApprovalState))
def test_every_state_of_a_question_has_an_embed(state: ApprovalState) -> None:
    asked = replace(
        question(Stage(), task="<@&30400000000000000> `x`\n" * 500), state=state, decided_by="42", why="w" * 5000
    )

    shown = approval_embed(asked)

    assert "<@\u200b&30400000000000000>" in str(shown.description)
    assert len(shown) < 6000
    assert all(len(field.value or "") <= 1024 for field in shown.fields)


async def test_buttons_outlive_the_bot_that_sent_them(bot: Bot) -> None:
    stage = Stage()
    asked = question(stage)
    view = ApprovalView(asked.id)
    serve_approvals(bot.client, stage.another_desk())

    bot.press(view.children[0].item.custom_id, LEAD, "lead")  # type: ignore[attr-defined]
    await bot.settle()

    assert view.is_persistent()
    answered = stage.desk.get(asked.id)
    assert answered is not None
    assert (answered.state, answered.decided_by, answered.why) == (
        ApprovalState.APPROVED,
        "42",
        "button in channel 200",
    )
    (sent,) = bot.sent
    assert (sent.embeds[0]["title"], sent.field("Answered by"), sent.buttons) == ("Approved", "42", [])


@pytest.mark.parametrize(
    ("user_id", "roles", "says"),
    [
        (LEAD, ["dev"], "only lead may answer this"),
        (LEAD, ["\u0430dmin"], "only lead may answer this"),
        (LEAD, [], "only lead may answer this"),
        (MEMBER, ["lead"], "nobody answers his own request"),
    ],
)
async def test_press_of_who_may_not_answer_changes_nothing(bot: Bot, user_id: int, roles: list[str], says: str) -> None:
    stage = Stage()
    asked = question(stage)
    serve_approvals(bot.client, stage.desk)

    bot.press(f"crew-moe:approve:{asked.id}", user_id, *roles)
    await bot.settle()

    (sent,) = bot.sent
    assert (sent.body["content"], sent.ephemeral) == (says, True)
    assert stage.desk.get(asked.id) == asked


async def test_question_of_another_guild_does_not_exist_here(bot: Bot) -> None:
    stage = Stage()
    asked = stage.desk.ask(call(tenant="discord-666"), roles=["lead"])
    serve_approvals(bot.client, stage.desk)

    bot.press(f"crew-moe:approve:{asked.id}", LEAD, "lead")
    await bot.settle()

    assert bot.sent[0].body["content"] == "no such approval waits for an answer"
    assert stage.desk.get(asked.id) == asked


async def test_double_press_counts_once(bot: Bot) -> None:
    stage = Stage()
    asked = question(stage)
    serve_approvals(bot.client, stage.desk)

    for answer in ("approve", "deny"):
        bot.press(f"crew-moe:{answer}:{asked.id}", LEAD, "lead")
        await bot.settle()
        stage.clock.advance(1)

    assert [sent.embeds[0]["title"] for sent in bot.sent[:2]] == ["Approved", "Approved"]
    assert bot.sent[2].body["content"] == "this was answered before: approved by 42"
    assert stage.kinds() == ["approval_asked", "approval_answered"]


async def test_expired_question_takes_no_answer(bot: Bot) -> None:
    stage = Stage()
    asked = question(stage)
    serve_approvals(bot.client, stage.desk)
    stage.clock.advance(901)

    bot.press(f"crew-moe:approve:{asked.id}", LEAD, "lead")
    await bot.settle()

    assert bot.sent[0].embeds[0]["title"] == "Nobody answered in time"
    assert "nobody answered in time" in bot.sent[1].body["content"]


@pytest.mark.parametrize("forged", ["crew-moe:approve:nosuchapproval", "crew-moe:approve:" + "A" * 64])
async def test_forged_button_answers_nothing(bot: Bot, forged: str) -> None:
    stage = Stage()
    question(stage)
    serve_approvals(bot.client, stage.desk)

    bot.press(forged, LEAD, "lead")
    await bot.settle()

    assert stage.kinds() == ["approval_asked"]
    assert bot.sent[0].ephemeral


async def test_bot_that_serves_no_approvals_says_so(bot: Bot) -> None:
    bot.client.add_dynamic_items(ApprovalButton)

    bot.press("crew-moe:approve:nosuchapproval", LEAD, "lead")
    await bot.settle()

    assert bot.sent[0].body["content"] == "This bot answers no approvals."


def test_missing_extra_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gating_discord, "find_spec", lambda _: None)

    with pytest.raises(MissingExtra, match=r"crew-moe\[discord\]"):
        _ = gating_discord.principal_of
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = gating_discord.no_such_name


def test_every_promised_name_is_there() -> None:
    assert all(callable(getattr(gating_discord, name)) for name in gating_discord.__all__)


async def test_questions_of_crews_go_to_a_channel(bot: Bot) -> None:
    stage = Stage()
    stage.desk.attach(ChannelApprover(bot.client, 200))

    asked = await asyncio.to_thread(question, stage)
    sent = await bot.until(lambda one: one.buttons)

    assert sent.path == "/channels/{channel_id}/messages"
    assert sent.buttons == [f"crew-moe:approve:{asked.id}", f"crew-moe:deny:{asked.id}"]
    assert sent.body["allowed_mentions"] == {"parse": []}


async def test_channel_that_is_gone_is_reported_and_breaks_nothing(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(*_: Any, **__: Any) -> None:
        raise discord.ConnectionClosed(_Socket(), shard_id=None, code=1011)  # type: ignore[arg-type]

    sink, stage = Recorder(), Stage()
    monkeypatch.setattr(bot.client.http, "request", gone)
    stage.desk.attach(ChannelApprover(bot.client, 200, sink=sink))

    assert question(stage).state is ApprovalState.PENDING
    await bot.settle()
    assert [name for name, _ in sink.events] == ["approver_failed"]


class _Socket:
    close_code = 1011


def test_client_that_has_not_started_hinders_no_question() -> None:
    stage = Stage()
    stage.desk.attach(ChannelApprover(discord.Client(intents=discord.Intents.none()), 200))

    assert question(stage).state is ApprovalState.PENDING
    assert "approver_failed" in dict(stage.sink.events)
