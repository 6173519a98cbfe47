"""One request of the local gate on its way, and what of it an expert is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from crew_moe.domain.hosting import HostSpec
from crew_moe.domain.local_work import Asked, LocalTask, Work
from crew_moe.local_gate.engine.lane import STREAM
from crew_moe.local_gate.engine.pipe import Pipe
from crew_moe.local_gate.features import TextFeatures

BYTES_PER_TOKEN: Final = 4
"""A guess for all languages and models: it bounds batches, and nothing is cut by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`text_digest` stands for the text where it is remembered, `text_bytes` is its length in UTF-8. `began` and
    `deadline` are of the clock's monotonic seconds. `pipe` takes the pieces of a stream.
    """

    asked: Asked
    seen: TextFeatures
    text_digest: bytes
    text_bytes: int
    began: float
    deadline: float
    pipe: Pipe | None = None

    @property
    def tokens(self) -> int:
        """About how many the text has."""
        return 1 + self.text_bytes // BYTES_PER_TOKEN

    @property
    def needs_chat(self) -> bool:
        """Whether only an expert that takes whole chats can do it."""
        chat = self.asked.chat
        return chat is not None and bool(chat.tools or chat.response_format)

    @property
    def kind(self) -> str:
        """What the lane is to do. An answer with tool calls or a format is no use in pieces."""
        if self.pipe is None or self.asked.task is LocalTask.EMBED or self.needs_chat:
            return self.asked.task
        return f"{STREAM}:{id(self.pipe)}"

    def work(self, spec: HostSpec) -> Work:
        """What this expert is given: its own options under the call's, and how long the answer may be."""
        options = {**spec.options, **self.asked.options}
        asked = options.pop("max_output_tokens", None)
        if asked is None and self.asked.chat is not None:
            asked = self.asked.chat.max_output_tokens
        most = spec.max_output_tokens if asked is None else asked
        return Work(text=self.asked.text, options=options, max_output_tokens=most, chat=self.asked.chat)
