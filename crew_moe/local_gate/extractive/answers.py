"""The kinds of answer: what to look for in a text, and how to lay it out. A new kind is one more row of KINDS."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from crew_moe.local_gate.extractive.ranking import Ranked
from crew_moe.local_gate.extractive.sentences import Sentence

NO_TEXT: Final = "No text was given to answer from."
PER_GROUP: Final = 4
KEY_POINTS: Final = 6
SUMMARY: Final = 3


@dataclass(frozen=True, slots=True)
class Group:
    """Sentences that share a subject, found by the words that speak of it."""

    title: str
    words: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of answer. The kind whose cue stands first in the request serves it."""

    name: str
    cue: re.Pattern[str]
    render: Callable[[Ranked, Sequence[Sentence]], str]


def answer(request: str, expected: str, text: Ranked) -> str:
    """Sentences of the text, laid out as the request asks; what the expected output says counts second."""
    if not text.sentences:
        return NO_TEXT
    kind = kind_of(request) or kind_of(expected) or QUESTION
    return kind.render(text, text.best(request))


def kind_of(words: str) -> Kind | None:
    """The kind whose cue comes first in the words, or None."""
    found = [(match.start(), index) for index, kind in enumerate(KINDS) if (match := kind.cue.search(words))]
    return KINDS[min(found)[1]] if found else None


def summary(best: Sequence[Sentence], count: int = SUMMARY) -> str:
    """The best sentences in the order of the text, as one paragraph."""
    return " ".join(sentence.text for sentence in _in_order(best[:count]))


def _question(_: Ranked, best: Sequence[Sentence]) -> str:
    return summary(best, 2)


def _summary(text: Ranked, best: Sequence[Sentence]) -> str:
    return "\n\n".join(part for part in (summary(best, KEY_POINTS), _keyword_line(text)) if part)


def _keyword_list(text: Ranked, best: Sequence[Sentence]) -> str:
    return "\n".join(f"- {word}" for word in text.keywords) or summary(best, 1)


def _brief(text: Ranked, best: Sequence[Sentence]) -> str:
    lead, points = best[:SUMMARY], best[SUMMARY : SUMMARY + KEY_POINTS]
    title = text.title or " / ".join(text.keywords[:3]).capitalize() or "Brief"
    parts = [f"# {title}", f"## Summary\n\n{summary(lead)}"]
    if points:
        parts.append("## Key points\n\n" + _bullets(_in_order(points)))
    return "\n\n".join(part for part in (*parts, _keyword_line(text)) if part)


def _grouped(
    title: str, groups: Sequence[Group], rest: str, *, cite: bool
) -> Callable[[Ranked, Sequence[Sentence]], str]:
    """A renderer that sorts the best sentences into groups; each sentence stands in the first group that takes it."""

    def render(text: Ranked, best: Sequence[Sentence]) -> str:
        left = list(best)
        parts = [f"# {text.title or title}"]
        for group in groups:
            taken = [sentence for sentence in left if group.words.search(sentence.text)][:PER_GROUP]
            left = [sentence for sentence in left if sentence not in taken]
            if taken:
                parts.append(f"## {group.title}\n\n" + _bullets(_in_order(taken), cite=cite))
        if left:
            parts.append(f"## {rest}\n\n" + _bullets(_in_order(left[:PER_GROUP]), cite=cite))
        return "\n\n".join(part for part in (*parts, _keyword_line(text)) if part)

    return render


def _bullets(sentences: Sequence[Sentence], *, cite: bool = False) -> str:
    return "\n".join(f"- {sentence.cited if cite else sentence.text}" for sentence in sentences)


def _in_order(sentences: Sequence[Sentence]) -> list[Sentence]:
    return sorted(sentences, key=lambda sentence: sentence.number)


def _keyword_line(text: Ranked) -> str:
    return f"Keywords: {', '.join(text.keywords)}" if text.keywords else ""


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{pattern})", re.IGNORECASE)


_SEVERITY: Final = (
    Group(
        "High severity",
        _words(r"critical|severe|outage|breach|leak|lost|loss|fail|expos|plain ?text|corrupt|unauthor|p[01]\b"),
    ),
    Group("Medium severity", _words(r"delay|slow|retr|degrad|warn|risk|missing|late\b|timeout|duplicate|manual|p2\b")),
)
_CAUSES: Final = (
    Group("Causes", _words(r"caus|because|due to|root|led to|trigger|reason|since\b|bug|misconfig|regress")),
    Group("Effects", _words(r"fail|lost|loss|delay|customer|user|declin|affect|impact|outage|unavailab|error|drop")),
    Group("Actions", _words(r"will\b|must|should|decid|agree|plan|fix|restor|roll|deploy|add|introduc|by \w+day")),
    Group("Figures", _words(r"\d")),
)
_FINDINGS: Final = (
    Group(
        "Secrets and access",
        _words(r"secret|credential|password|private key|plain ?text|shared|factor|permission|privilege|unauthor"),
    ),
    Group("Data", _words(r"personal|pii\b|customer data|card number|encrypt|expos|leak|retention|backup|mailbox")),
    Group("Controls and process", _words(r"review|approv|test|alert|monitor|audit|policy|runbook|control|owner")),
    Group("Availability", _words(r"outage|timeout|fail|overload|retr|capacity|limit|unavailab|queue|latency")),
)

KINDS: Final = (
    Kind("audit", _words(r"audit|vulnerab|security|complian|findings?\b|weakness|review"),
         _grouped("Findings", _FINDINGS, "Also relevant", cite=True)),
    Kind("triage", _words(r"triage|list\b|bullet|classif|priorit|extract"),
         _grouped("Triage", _SEVERITY, "Other", cite=False)),
    Kind("analysis", _words(r"analy[sz]|root cause|assess|evaluat|investigat|diagnos"),
         _grouped("Analysis", _CAUSES, "Context", cite=True)),
    Kind("brief", _words(r"write|draft|compose|brief|memo|prepare"), _brief),
    Kind("keywords", _words(r"keyword|tags?\b|topics?\b"), _keyword_list),
    Kind("summary", _words(r"summar|tl;dr|overview|abstract|shorten|condense"), _summary),
)  # fmt: skip
QUESTION: Final = Kind("question", _words("$^"), _question)
