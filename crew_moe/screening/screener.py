"""Runs every detector over every new text once, and remembers what they said, never the text.

A crew sends the same prompts, contexts and tool outputs again and again, so the cost follows what is new. What is kept
is a keyed digest of each text and the findings: whoever reads a screener's memory can neither read nor guess texts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

from crew_moe.domain.digest import MAX_KEY_BYTES, digest
from crew_moe.domain.screening import Concern, Finding
from crew_moe.errors import InvalidInput, ScreeningFailed
from crew_moe.ports import Detector
from crew_moe.screening.messages import Message, texts_of

MIN_KEY_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What all detectors say of one text, or of several taken together; no word of them."""

    findings: tuple[Finding, ...] = ()

    def of(self, concern: Concern) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.concern is concern)

    def worst(self, concern: Concern) -> float:
        """The highest score for a concern; 0 where nobody looked."""
        return max((finding.score for finding in self.of(concern)), default=0.0)

    @property
    def worst_score(self) -> float:
        return max((finding.score for finding in self.findings), default=0.0)

    @property
    def flagged(self) -> frozenset[Concern]:
        return frozenset(finding.concern for finding in self.findings if finding.flagged)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: for each concern its worst score and what was found."""
        told: dict[str, Any] = {}
        for concern in dict.fromkeys(finding.concern for finding in self.findings):
            findings = [finding.as_dict() for finding in self.of(concern)]
            told[concern.value] = {"score": self.worst(concern), "findings": findings}
        return told

    @classmethod
    def joined(cls, reports: Iterable[Report]) -> Report:
        """One report over several texts; its spans are those of each text by itself."""
        return cls(findings=tuple(finding for report in reports for finding in report.findings))


class Screener:
    """Assesses each distinct text once. Safe for threads; two that bring the same new text may both assess it.

    `key`: at least 16 bytes, secret, so that a digest can't be found by trying texts. `capacity`: texts remembered;
    the one that was not asked for longest goes first.
    """

    def __init__(self, detectors: Sequence[Detector], *, key: bytes, capacity: int = 10_000) -> None:
        if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
            raise InvalidInput(f"a key has {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes, this one {len(key)}", where="key")
        if capacity < 1:
            raise InvalidInput(f"at least one text must be remembered, not {capacity}", where="capacity")
        self._detectors = tuple(detectors)
        self._key = key
        self._capacity = capacity
        self._lock = Lock()
        self._known: OrderedDict[bytes, Report] = OrderedDict()
        self.asked = 0
        self.hits = 0

    def __repr__(self) -> str:
        versions = ", ".join(detector.version for detector in self._detectors)
        return f"Screener({versions}; {len(self._known)} texts known)"

    def screen(self, texts: Sequence[str]) -> tuple[Report, ...]:
        """A report for each text, in order; raises `ScreeningFailed` when a detector raises."""
        return tuple(map(self._report, texts))

    def screen_messages(self, messages: Iterable[Message]) -> tuple[Report, ...]:
        """A report for each message: system prompt, user text, task context, tool outputs, arguments of tool calls."""
        return tuple(Report.joined(self.screen(tuple(texts_of(message)))) for message in messages)

    def _report(self, text: str) -> Report:
        name = digest(text, key=self._key)
        with self._lock:
            known = self._known.get(name)
            self.asked += 1
            if known is not None:
                self.hits += 1
                self._known.move_to_end(name)
                return known
        report = Report(findings=tuple(_assess(detector, text) for detector in self._detectors))
        with self._lock:
            self._known[name] = report
            if len(self._known) > self._capacity:
                self._known.popitem(last=False)
        return report


def _assess(detector: Detector, text: str) -> Finding:
    try:
        return detector.assess(text)
    except Exception as cause:  # noqa: BLE001 - a detector is foreign code: a text that it failed on must not pass
        # The cause's own words are not repeated, and not chained: they may quote the text.
        raise ScreeningFailed(detector.concern.value, detector.version, cause) from None
