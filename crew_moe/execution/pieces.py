"""A streamed answer as its caller gets it: pieces with the true values in them, the last one with the whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from crew_moe.domain.outcome import Attempt, Completion, Piece
from crew_moe.execution.route import AnswerChunk
from crew_moe.execution.screened import Restorer, Screened


class Pieces:
    """Makes pieces of the executor's chunks, for one decision; what was held back comes with the last one.

    `before` are the attempts of earlier decisions on the same request.
    """

    def __init__(self, decision_id: str, screened: Screened, before: tuple[Attempt, ...] = ()) -> None:
        self._decision_id = decision_id
        self._before = before
        self._restorer = screened.restorer()
        self._call_restorers: dict[int, Restorer] = defaultdict(screened.call_restorer)
        self._text = 0
        self._arguments: dict[int, int] = {}

    @property
    def shown(self) -> bool:
        """Whether the caller got anything."""
        return bool(self._text or self._arguments)

    def of(self, chunk: AnswerChunk) -> Iterator[Piece]:
        """The piece that a chunk makes; none while it is held back."""
        text = self._restorer.feed(chunk.text) if chunk.text else ""
        calls = tuple(map(self._restored, chunk.calls))
        if text or calls:
            yield self._piece(chunk.expert_id, text, calls, before=self._before + chunk.before)

    def last(self, whole: Completion) -> Piece:
        """What of the whole was not told yet, with the whole."""
        text = whole.text[self._text :]
        calls = tuple(self._untold(whole.tool_calls))
        return self._piece(
            whole.expert_id,
            text,
            calls,
            before=tuple(attempt for attempt in whole.attempts if not attempt.ok),
            completion=whole,
        )

    def _piece(self, expert_id: str, text: str, calls: tuple[Mapping[str, Any], ...], **rest: Any) -> Piece:
        self._text += len(text)
        for call in calls:
            at = call["index"]
            self._arguments[at] = self._arguments.get(at, 0) + len(call["function"]["arguments"])
        return Piece(expert_id=expert_id, decision_id=self._decision_id, text=text, tool_calls=calls, **rest)

    def _restored(self, call: Mapping[str, Any]) -> Mapping[str, Any]:
        arguments = self._call_restorers[call["index"]].feed(call["function"]["arguments"])
        return {**call, "function": {**call["function"], "arguments": arguments}}

    def _untold(self, calls: tuple[Mapping[str, Any], ...]) -> Iterator[Mapping[str, Any]]:
        for index, call in enumerate(calls):
            told = self._arguments.get(index)
            if told is None:
                yield {"index": index, **call}
            elif rest := call["function"]["arguments"][told:]:
                yield {"index": index, "function": {"arguments": rest}}
