"""A streamed answer put together: events in, pieces of text out, the whole reply at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from crew_moe.domain.chat import ChatChunk
from crew_moe.domain.outcome import ErrorClass
from crew_moe.domain.usage import Usage
from crew_moe.execution.failure import CallFailed, classify_error
from crew_moe.execution.reply import assemble, calls_of, parse_object, text_of_content
from crew_moe.execution.sse import EventDecoder
from crew_moe.execution.stops import StopCutter
from crew_moe.execution.tool_calls import ToolCalls
from crew_moe.execution.usage import usage_of

DONE: Final = "[DONE]"


class Assembler:
    """Takes the body of a streamed chat completion piece by piece; `done` once the provider says so."""

    def __init__(self, *, stop: Sequence[str] = (), private: Iterable[str] = ()) -> None:
        self.done = False
        self._stop = stop
        self._private = private
        self._decoder = EventDecoder()
        self._cutter = StopCutter(stop)
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._calls = ToolCalls()
        self._finish: object = None
        self._usage: Usage | None = None
        self._model: object = None

    def feed(self, piece: bytes) -> str:
        """The new text in `piece`, stop sequences cut. Raises CallFailed for an error told in mid-stream."""
        return "".join(self._event(event) for event in self._decoder.feed(piece))

    def chunk(self, piece: bytes) -> ChatChunk | None:
        """As `feed`, with the new pieces of tool calls; None where `piece` has nothing for the reader."""
        text = self.feed(piece)
        calls = self._calls.news()
        return ChatChunk(text=text, calls=calls) if text or calls else None

    def finish(self) -> ChatChunk:
        """The last text with the whole reply, now that the stream is over. Raises CallFailed when it was cut."""
        last = "".join(self._event(event) for event in self._decoder.finish())
        if self._finish is None and not self.done:
            raise CallFailed(ErrorClass.MALFORMED, "a stream that ended in the middle", usage=self._usage)
        reply = assemble(
            text="".join(self._text) if self._text else None,
            refusal="".join(self._refusal),
            calls=self._calls.whole,
            finish_reason=self._finish,
            usage=self._usage,
            model=self._model,
            stop=self._stop,
        )
        return ChatChunk(text=last + self._cutter.rest(), calls=self._calls.news(), reply=reply)

    def _event(self, event: str) -> str:
        if self.done or event == DONE:
            self.done = True
            return ""
        data = parse_object(event)
        if data.get("error"):
            raise classify_error(data["error"], private=self._private)
        self._usage = usage_of(data) or self._usage
        self._model = data.get("model") or self._model
        choices = data.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else {}
        return self._choice(choice) if isinstance(choice, Mapping) else ""

    def _choice(self, choice: Mapping[str, Any]) -> str:
        self._finish = choice.get("finish_reason") or self._finish
        delta = choice.get("delta")
        if not isinstance(delta, Mapping):
            return ""
        if isinstance(delta.get("refusal"), str):
            self._refusal.append(delta["refusal"])
        for call in calls_of(delta.get("tool_calls")):
            self._calls.take(call)
        text = text_of_content(delta.get("content"))
        if text is None:
            return ""
        self._text.append(text)
        return self._cutter.feed(text)
