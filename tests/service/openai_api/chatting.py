"""The OpenAI API alone, on a real server, over a router that a test makes; spoken to by OpenAI's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import openai
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from crew_moe import Router
from crew_moe.auth.caller import LOCAL, Caller
from crew_moe.service.access import CALLER
from crew_moe.service.openai_api.routes import chat_routes
from crew_moe.service.problem import problems_of
from crew_moe.sim import Simulation
from tests.service.running import listening

TEXT: Final = "The figures say that it goes well. They say it every year. Nobody believes them any more."
ASK: Final[list[Any]] = [{"role": "user", "content": "What do the figures say?"}]


class Let:
    """Lets everybody in as one caller."""

    def __init__(self, app: ASGIApp, *, caller: Caller) -> None:
        self._app = app
        self._caller = caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[CALLER] = self._caller
        await self._app(scope, receive, send)


@dataclass(frozen=True, slots=True)
class Chat:
    """A router that is served, and its client."""

    router: Router
    url: str
    client: openai.OpenAI

    def ask(self, model: str = "auto", *, hints: dict[str, Any] | None = None, **fields: Any) -> Any:
        """One completion; `hints` are for the router."""
        extra = {"crew_moe": hints} if hints else None
        return self.client.chat.completions.create(
            model=model, messages=fields.pop("messages", ASK), extra_body=extra, **fields
        )

    def headers(self, model: str = "auto", **fields: Any) -> dict[str, str]:
        """What an answer's headers say of who served."""
        told = self.client.chat.completions.with_raw_response.create(model=model, messages=ASK, **fields).headers
        return {name: told[name] for name in told if name.startswith("x-crew-moe")}


@contextmanager
def chatting(router: Router, *, caller: Caller = LOCAL) -> Iterator[Chat]:
    """Serve the router's chats until the block ends."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with router.at_home():
            yield

    app = FastAPI(lifespan=lifespan)
    app.include_router(chat_routes(router))
    problems_of(app)
    app.add_middleware(Let, caller=caller)
    with listening(app) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=2) as client:
        yield Chat(router, url, client)


def sent(sim: Simulation) -> dict[str, Any]:
    """The body of the newest request that a provider got."""
    return dict(sim.requests[-1].body)


def text_of(chunks: Sequence[Any]) -> str:
    """What a stream's chunks say."""
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
