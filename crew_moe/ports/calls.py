"""Who answers: experts elsewhere, and those that are hosted here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from crew_moe.domain.chat import ChatChunk, ChatReply, ChatRequest
from crew_moe.domain.expert import Expert
from crew_moe.domain.local_work import HostHealth, Made, Work
from crew_moe.errors import HostFailed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class LLMClient(Protocol):
    """Calls one expert once: no retry, no fallback. Raises CallFailed (execution.failure), never anything else."""

    def call(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply: ...

    async def acall(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply: ...

    def stream(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> Iterator[ChatChunk]: ...

    def astream(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> AsyncIterator[ChatChunk]: ...

    def close(self) -> None: ...


class Host(Protocol):
    """One self-hosted expert: a model and how it is asked. Blocking; called from threads, and never before `load`.

    Calls of one host come one after another unless it says that it is `concurrent`. Whatever goes wrong is raised as
    HostFailed, or stands in the list of answers in the place of the one that it concerns.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """Changes with the weights and with everything else that an answer depends on; "" before `load`."""

    @property
    def takes_chats(self) -> bool:
        """Whether it answers a whole chat, with tools and response formats, and not only a text."""

    @property
    def concurrent(self) -> int:
        """How many calls it takes at once."""

    def load(self) -> None:
        """Get ready; idempotent. Raises HostFailed."""

    def process(self, works: Sequence[Work]) -> Sequence[Made | HostFailed]:
        """An answer for each, in their order. Raises HostFailed where none of them can be done."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One row for each text, of length 1: (texts, dimensions). Raises HostFailed."""

    def stream(self, work: Work) -> Iterator[str]:
        """The answer in pieces as it is made. Raises HostFailed."""

    def health(self) -> HostHealth:
        """How it is, without loading anything; never raises."""

    def unload(self) -> None:
        """Give the memory back; idempotent. A later `load` makes it ready again."""
