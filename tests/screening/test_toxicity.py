"""The shipped toxicity model on abuse and on civil texts that look like it."""

from __future__ import annotations

import pytest

from crew_moe.domain.screening import Concern
from crew_moe.screening.toxicity import ToxicityDetector

DETECTOR = ToxicityDetector()


@pytest.mark.parametrize(
    "text",
    [
        "You are such a worthless piece of shit, go kill yourself.",
        "Shut up you dumb bitch, nobody wants you here.",
        "I hate all immigrants, they are vermin and should be shot.",
        "what a f*cking idiot, stupid @sshole",
        "st\u200bupid b\u0456tch",
    ],
)
def test_abuse_is_flagged(text: str) -> None:
    finding = DETECTOR.assess(text)

    assert finding.flagged
    assert finding.concern is Concern.TOXICITY


@pytest.mark.parametrize(
    "text",
    [
        "How do I kill a zombie process in Linux?",
        "Which drugs kill bacteria without harming the patient?",
        "Women and men should be paid the same for the same work.",
        "Summarise the history of immigration to Canada.",
        "Homo sapiens and Homo erectus lived at the same time.",
        "What a lovely day, the dogs had a great time in the park!",
        "",
    ],
)
def test_civil_text_is_not_flagged(text: str) -> None:
    assert not DETECTOR.assess(text).flagged


def test_spans_say_what_kind_of_abuse_stands_where() -> None:
    text = "Shut up, you IDIOT."

    spans = {(span.type, text[span.start : span.end]) for span in DETECTOR.assess(text).spans}

    assert {("insult", "IDIOT"), ("aggression", "Shut up")} <= spans
