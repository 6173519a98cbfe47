"""Tool calls of a streamed answer: put together from their pieces, and told on piece by piece."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crew_moe.execution.reply import arguments_of


class ToolCalls:
    """`take` the deltas as a provider sends them; `whole` has the calls so far, `news` what can be told on.

    A call is told on once its id and its name are known, so that every delta says the same as the whole does.
    """

    def __init__(self) -> None:
        self.whole: list[dict[str, Any]] = []
        self._places: dict[object, int] = {}
        self._told: dict[int, int] = {}
        self._news: list[Mapping[str, Any]] = []

    def take(self, delta: Mapping[str, Any]) -> None:
        """One piece of a call. Pieces belong together by index; a new id under an old index is a new call."""
        index, call_id = delta.get("index"), delta.get("id")
        key = index if isinstance(index, int) else None
        place = self._places.get(key) if key is not None or not call_id else None
        if place is None or (call_id and self.whole[place]["id"] and call_id != self.whole[place]["id"]):
            place = self._places[key] = len(self.whole)
            self.whole.append({"id": None, "function": {"name": None, "arguments": ""}})
        call, function = self.whole[place], delta.get("function")
        if isinstance(function, Mapping):
            call["function"]["name"] = call["function"]["name"] or function.get("name")
            call["function"]["arguments"] += arguments_of(function)
        call["id"] = call["id"] or call_id
        self._tell(place)

    def news(self) -> tuple[Mapping[str, Any], ...]:
        """What came since it was asked last, as deltas in OpenAI's shape."""
        news, self._news = self._news, []
        return tuple(news)

    def _tell(self, place: int) -> None:
        call, function = self.whole[place], self.whole[place]["function"]
        if not all(isinstance(known, str) and known for known in (call["id"], function["name"])):
            return
        told = self._told.get(place)
        piece = {"arguments": function["arguments"][told or 0 :]}
        if told is None:
            head = {"id": call["id"], "type": "function", "function": {"name": function["name"], **piece}}
            self._news.append({"index": place, **head})
        elif piece["arguments"]:
            self._news.append({"index": place, "function": piece})
        self._told[place] = len(function["arguments"])
