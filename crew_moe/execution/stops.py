"""Stop sequences, applied on this side: not every model takes them, and most take four at most."""

from __future__ import annotations

from collections.abc import Sequence


def cut(text: str, stops: Sequence[str]) -> str:
    """`text` up to the stop sequence that is complete first, as a model that writes it would stop."""
    found = [(at + len(stop), at) for stop in stops if stop and (at := text.find(stop)) >= 0]
    return text[: min(found)[1]] if found else text


class StopCutter:
    """`cut` for a text that comes in pieces: gives out what can't become part of a stop sequence any more.

    >>> cutter = StopCutter(["\\nObservation:"])
    >>> cutter.feed("Action: search\\nObs"), cutter.feed("ervation: 42"), cutter.rest()
    ('Action: search', '', '')
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.stopped = False

    def feed(self, piece: str) -> str:
        """The text that is safe to give out now."""
        if self.stopped:
            return ""
        text = self._held + piece
        kept = cut(text, self._stops)
        if len(kept) < len(text):
            self.stopped = True
            self._held = ""
            return kept
        hold = self._ambiguous(text)
        self._held = text[len(text) - hold :]
        return text[: len(text) - hold]

    def rest(self) -> str:
        """What was held back, now that nothing follows."""
        held, self._held = self._held, ""
        return held

    def _ambiguous(self, text: str) -> int:
        """How many characters at the end may be the beginning of a stop sequence."""
        longest = max((len(stop) - 1 for stop in self._stops), default=0)
        for size in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-size:]) for stop in self._stops):
                return size
        return 0
