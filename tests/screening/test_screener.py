"""Screening: each text once, nothing of it kept, and no text passes that a detector failed on."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from crew_moe.domain.screening import Concern, Finding, Span
from crew_moe.errors import InvalidInput, ScreeningFailed
from crew_moe.screening.pii import PiiDetector
from crew_moe.screening.screener import Report, Screener

KEY = b"0123456789abcdef"


@dataclass
class Counting:
    """A detector whose score is the length of the text in hundreds, and which remembers what it saw."""

    concern: Concern = Concern.INJECTION
    version: str = "counting-1"
    seen: list[str] = field(default_factory=list)
    before: Callable[[], object] = lambda: None

    def assess(self, text: str) -> Finding:
        self.before()
        self.seen.append(text)
        return Finding(concern=self.concern, score=min(1.0, len(text) / 100), version=self.version)


@dataclass
class Broken:
    concern: Concern = Concern.TOXICITY
    version: str = "broken-7"

    def assess(self, text: str) -> Finding:
        raise ValueError(f"could not read {text}")


def test_each_distinct_text_is_assessed_once() -> None:
    detector = Counting()
    screener = Screener([detector], key=KEY)

    reports = screener.screen(["one", "two", "one"]) + screener.screen(["two"])

    assert detector.seen == ["one", "two"]
    assert reports[0] is reports[2]
    assert reports[1] is reports[3]


def test_the_text_not_asked_for_longest_is_forgotten_first() -> None:
    detector = Counting()
    screener = Screener([detector], key=KEY, capacity=2)

    screener.screen(["a", "b", "a", "c", "a", "b"])

    assert detector.seen == ["a", "b", "c", "b"]


def test_a_report_gathers_findings_by_concern_without_a_word_of_the_text() -> None:
    screener = Screener([PiiDetector(), Counting()], key=KEY)

    (report,) = screener.screen(["write to ann@example.org"])

    assert report.worst(Concern.PII) == report.worst_score == 0.95
    assert report.worst(Concern.TOXICITY) == 0.0
    assert report.flagged == {Concern.PII}
    assert report.as_dict()["pii"]["findings"][0]["spans"] == [{"start": 9, "end": 24, "type": "EMAIL"}]
    assert "ann" not in str(report.as_dict())


def test_every_text_of_a_message_counts_in_its_report() -> None:
    detector = Counting()
    parts = [{"type": "text", "text": "x" * 60}, {"type": "image_url", "image_url": {"url": "u"}}]
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": parts},
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"q": "find it"}'}}]},
        {"role": "tool", "content": "found"},
        {"role": "user", "content": ""},
    ]

    reports = Screener([detector], key=KEY).screen_messages(messages)

    assert detector.seen == ["be kind", "x" * 60, "q", "find it", "found"]
    assert [bool(report.flagged) for report in reports] == [False, True, False, False, False]


def test_a_detector_that_raises_stops_the_text_and_its_words_are_not_repeated() -> None:
    screener = Screener([Counting(), Broken()], key=KEY)

    with pytest.raises(ScreeningFailed, match=r"toxicity failed \(broken-7\): ValueError") as failure:
        screener.screen(["my secret"])

    assert (failure.value.concern, failure.value.version) == ("toxicity", "broken-7")
    assert "could not read" not in "".join(traceback.format_exception(failure.value))


def test_a_failure_is_not_remembered_as_a_report() -> None:
    screener = Screener([Broken()], key=KEY)

    for _ in range(2):
        with pytest.raises(ScreeningFailed):
            screener.screen(["x"])


def test_a_slow_text_does_not_hold_up_another_thread() -> None:
    slow, entered, release = Counting(), threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        release.wait(10)

    slow.before = wait
    screener = Screener([slow], key=KEY)
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(screener.screen, ["slow"])
        assert entered.wait(10)
        slow.before = lambda: None

        assert pool.submit(screener.screen, ["fast"]).result(10)
        release.set()

        assert waiting.result(10)


def test_threads_share_what_is_known() -> None:
    screener = Screener([Counting()], key=KEY, capacity=8)

    with ThreadPoolExecutor(8) as pool:
        reports = list(pool.map(lambda n: screener.screen(["x" * (n % 32)])[0], range(1_000)))

    assert all(report.worst_score == (n % 32) / 100 for n, report in enumerate(reports))


@pytest.mark.parametrize(("key", "capacity"), [(b"short", 10), (b"k" * 65, 10), (KEY, 0)])
def test_a_guessable_key_and_a_memory_of_nothing_are_refused(key: bytes, capacity: int) -> None:
    with pytest.raises(InvalidInput):
        Screener([], key=key, capacity=capacity)


def test_no_text_and_no_key_shows_in_a_repr() -> None:
    screener = Screener([Counting()], key=KEY)
    screener.screen(["my secret"])

    assert repr(screener) == "Screener(counting-1; 1 texts known)"


def test_reports_join_without_losing_findings() -> None:
    one = Report(
        findings=(Finding(concern=Concern.PII, score=0.9, version="v", spans=(Span(start=0, end=1, type="IP"),)),)
    )

    assert Report.joined([one, Report(), one]).findings == one.findings * 2
