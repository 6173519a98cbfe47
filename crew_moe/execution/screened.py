"""What screening made of a chat: what may be sent, what it demands of the expert, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from crew_moe.domain.access import NO_DEMANDS, Demands
from crew_moe.domain.chat import ChatReply, ChatRequest
from crew_moe.domain.screening import Concern


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Screening lets nobody see the chat: which concern, and the sentence that says so."""

    concern: Concern
    reason: str


class Restorer(Protocol):
    """Puts the true values back into a streamed answer: holds back only what may be the beginning of a placeholder."""

    def feed(self, chunk: str) -> str: ...

    def finish(self) -> str: ...


class AsItIs:
    """Implements Restorer for an answer in which nothing is to be restored."""

    def feed(self, chunk: str) -> str:
        return chunk

    def finish(self) -> str:
        return ""


def _as_it_is(reply: ChatReply) -> ChatReply:
    return reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """A chat that was looked at. `scores` holds the worst of each concern, `hold` names the messages about which a
    person must be asked first;
    `redacted` counts the values that go out as placeholders, `restore` puts them back into an answer, `restorer` into
    pieces of a streamed one, `call_restorer` into pieces of a tool call's arguments.
    """

    chat: ChatRequest
    demands: Demands = NO_DEMANDS
    scores: Mapping[Concern, float] = field(default_factory=dict)
    hold: frozenset[str] = frozenset()
    stop: Stop | None = None
    redacted: int = 0
    restore: Callable[[ChatReply], ChatReply] = _as_it_is
    restorer: Callable[[], Restorer] = AsItIs
    call_restorer: Callable[[], Restorer] = AsItIs
