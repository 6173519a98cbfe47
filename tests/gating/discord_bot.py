"""A real discord.py client that nothing connects: events come from payloads, what it sends is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any, Final, Self, cast

import discord
import pytest
from discord import app_commands
from discord.webhook.async_ import AsyncWebhookAdapter

GUILD: Final = 100
CHANNEL: Final = 200
ROLES: Final = {"@everyone": GUILD, "lead": 301, "dev": 302, "\u0430dmin": 303, "admin": 304, "304": 305}
PATIENCE_S: Final = 10.0
CHANNEL_PAYLOAD: Final = {"id": str(CHANNEL), "type": 0, "name": "general", "position": 0, "permission_overwrites": []}
_MOMENT: Final = "2026-03-02T12:00:00.000000+00:00"


def guild_payload(guild_id: int = GUILD) -> dict[str, Any]:
    roles = [role_payload(name, guild_id if name == "@everyone" else number) for name, number in ROLES.items()]
    rest = {"owner_id": "1", "channels": [CHANNEL_PAYLOAD], "members": []}
    return {"id": str(guild_id), "name": "Acme", "roles": roles} | rest


def role_payload(name: str, number: int) -> dict[str, Any]:
    flat = {"color": 0, "hoist": False, "position": 0, "permissions": "0", "managed": False, "mentionable": False}
    colors = {"primary_color": 0, "secondary_color": None, "tertiary_color": None}
    return {"id": str(number), "name": name, "colors": colors, "flags": 0} | flat


def user_payload(user_id: int) -> dict[str, Any]:
    return {"id": str(user_id), "username": f"user{user_id}", "discriminator": "0", "avatar": None, "global_name": None}


def message_payload(**fields: Any) -> dict[str, Any]:
    lists: dict[str, Any] = {name: [] for name in ("mentions", "mention_roles", "attachments", "embeds", "components")}
    plain = {
        "content": "",
        "edited_timestamp": None,
        "tts": False,
        "mention_everyone": False,
        "pinned": False,
        "type": 0,
    }
    author = user_payload(1)
    return {"id": "900", "channel_id": str(CHANNEL), "author": author, "timestamp": _MOMENT} | lists | plain | fields


class Sent:
    """One request that the client would have made."""

    def __init__(self, method: str, path: str, payload: dict[str, Any]) -> None:
        self.method, self.path = method, path
        body = payload.get("data") or payload
        self.body: dict[str, Any] = body
        self.ephemeral = bool(body.get("flags", 0) & 64)
        self.embeds: list[dict[str, Any]] = body.get("embeds") or []
        rows = body.get("components") or []
        self.buttons = [button["custom_id"] for row in rows for button in row["components"]]

    def field(self, name: str) -> str | None:
        """The value of a field of the embed."""
        fields = self.embeds[0].get("fields", [])
        return next((str(field["value"]) for field in fields if field["name"] == name), None)


class Bot:
    """The client, with one guild whose roles are ROLES; `sent` is what it said."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.client = discord.Client(intents=discord.Intents(guilds=True))
        self.tree = app_commands.CommandTree(self.client)
        self.sent: list[Sent] = []
        self._news = asyncio.Event()
        self._numbers = count(1000)
        patch.setattr(AsyncWebhookAdapter, "request", self._webhook)
        patch.setattr(self.client.http, "request", self._http)

    async def start(self) -> Self:
        """As a client after its login, without one."""
        await self.client._async_setup_hook()
        state, user, guild = self.client._connection, user_payload(1), guild_payload()
        state.user = discord.ClientUser(state=state, data=cast(Any, user))
        state._add_guild_from_data(cast(Any, guild))
        return self

    def interaction(
        self, user_id: int = 7, *roles: str, guild_id: int | None = GUILD, **fields: Any
    ) -> discord.Interaction[Any]:
        """Something that a member did; without a guild, somebody in a private talk."""
        payload: Any = self._payload(user_id, roles, guild_id) | fields
        return discord.Interaction(data=payload, state=self.client._connection)

    def command(self, name: str, user_id: int, *roles: str, **options: str) -> None:
        """A member uses a slash command."""
        given = [{"name": key, "type": 3, "value": value} for key, value in options.items()]
        data = {"id": "1", "name": name, "type": 1, "options": given}
        self._happens(self._payload(user_id, roles, GUILD) | {"type": 2, "data": data})

    def press(self, custom_id: str, user_id: int, *roles: str) -> None:
        """A member presses a button of a message that some bot of this name sent, now or before a restart."""
        buttons = [{"type": 2, "style": 3, "label": "x", "custom_id": custom_id}]
        message = message_payload(components=[{"type": 1, "components": buttons}])
        data = {"component_type": 2, "custom_id": custom_id}
        self._happens(self._payload(user_id, roles, GUILD) | {"type": 3, "data": data, "message": message})

    async def settle(self) -> None:
        """Return when nothing is under way any more."""
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.sleep(0)  # what came from a thread becomes a task in the next round of the loop
            while others := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.gather(*others)

    async def until(self, wanted: Callable[[Sent], object]) -> Sent:
        """The first that was sent and is wanted, as soon as it is."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = next((sent for sent in self.sent if wanted(sent)), None)
                if found is not None:
                    return found
                self._news.clear()
                await self._news.wait()

    def _payload(self, user_id: int, roles: tuple[str, ...], guild_id: int | None) -> dict[str, Any]:
        user = user_payload(user_id)
        base = {"id": str(next(self._numbers)), "application_id": "5", "token": "t", "version": 1, "type": 2}
        base |= {"attachment_size_limit": 0, "channel": CHANNEL_PAYLOAD | {"type": 0 if guild_id else 1}}
        if guild_id is None:
            return base | {"user": user}
        numbers = [str(ROLES[role]) for role in roles]
        member = {"user": user, "roles": numbers, "joined_at": _MOMENT, "deaf": False, "mute": False, "flags": 0}
        return base | {"guild_id": str(guild_id), "member": member | {"permissions": "0"}}

    def _happens(self, payload: Any) -> None:
        self.client._connection.parse_interaction_create(payload)

    async def _webhook(self, route: Any, *, payload: Any = None, **_: Any) -> Any:
        self._keep(route.method, route.path, payload or {})
        if route.path.endswith("/callback"):
            return {"interaction": {"id": "1", "type": 2}}
        return message_payload()

    async def _http(self, route: Any, *, json: Any = None, **_: Any) -> Any:
        self._keep(route.method, route.path, json or {})
        return message_payload()

    def _keep(self, method: str, path: str, payload: dict[str, Any]) -> None:
        self.sent.append(Sent(method, path, payload))
        self._news.set()
