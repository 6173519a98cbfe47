"""From a request to its features: sizes, and the signals that a heuristic can read off the text.

Every test on the text is a substring search or a count, so the cost is linear and small. What the caller names is
never guessed; what is guessed carries the confidence that its evidence has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from crew_moe.domain.expert import Capability
from crew_moe.domain.features import Features
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.task import Modality, Risk, TaskType, Urgency
from crew_moe.errors import InvalidRequest
from crew_moe.routing.columns import Ints

CHARS_PER_TOKEN: Final = 4
BYTES_PER_TOKEN: Final = 3  # of text outside ASCII
MAX_CONFIDENCE: Final = 0.95
NO_EVIDENCE: Final = 0.2
SCRIPT_SAMPLE_CHARS: Final = 400

CODE_MARKS: Final = ("```", "def ", "();", " => ", "import ", "class ")
URGENT: Final = ("urgent", "asap", "immediately")
# Stems that make a text risky, behind the letters that they share: most texts hold none of those, and are done.
HIGH_RISK: Final = (
    ("passw", ("password",)),
    ("cred", ("credential", "credit card")),
    ("medical", ("medical",)),
    ("patient", ("patient",)),
    ("sec", ("secret", "social security")),
)

TASK_STEMS: Final[Mapping[TaskType, tuple[str, ...]]] = {
    TaskType.CODE_GENERATION: ("implement", "write a function", "write code", "write a script", "build a", "program"),
    TaskType.CODE_REVIEW: ("code review", "review this code", "review the code", "pull request", "review the diff"),
    TaskType.TESTING: ("unit test", "write tests", "test case", "pytest", "test coverage", "test suite"),
    TaskType.REFACTORING: ("refactor", "clean up", "simplify the code", "rename", "restructure"),
    TaskType.REASONING: ("prove", "reason about", "deduce", "puzzle", "step by step", "solve", "logic"),
    TaskType.PLANNING: ("plan", "roadmap", "schedule", "milestone", "break down", "prioriti"),
    TaskType.ANALYSIS: ("analy", "compare", "trend", "insight", "evaluate", "root cause", "summar"),
    TaskType.SECURITY_AUDIT: ("security", "vulnerab", "audit", "exploit", "threat", "injection", "penetration"),
    TaskType.DOCUMENTATION: ("document", "readme", "docstring", "write a brief", "explain how", "user guide", "report"),
    TaskType.TOOL_USE: ("use the tool", "call the", "search for", "look up", "fetch", "query the"),
    TaskType.MULTIMODAL: ("image", "picture", "photo", "screenshot", "diagram", "chart in"),
    TaskType.LONG_CONTEXT: ("entire book", "whole repository", "full transcript", "all documents", "long document"),
}

SCRIPTS: Final = (
    ("Grek", 0x0370, 0x03FF),
    ("Cyrl", 0x0400, 0x052F),
    ("Hebr", 0x0590, 0x05FF),
    ("Arab", 0x0600, 0x077F),
    ("Deva", 0x0900, 0x097F),
    ("Thai", 0x0E00, 0x0E7F),
    ("Jpan", 0x3040, 0x30FF),
    ("Hani", 0x3400, 0x9FFF),
    ("Kore", 0xAC00, 0xD7AF),
)

Evidence = tuple[str, float] | None

_RISK_FOUND: Final = ("risk", 0.7)
_RISK_BY_TASK: Final = ("risk", 0.6)
_RISK_ABSENT: Final = ("risk", 0.5)
_CODE_FOUND: Final = ("modality", 0.8)
_TEXT_ASSUMED: Final = ("modality", 0.6)
# Every pair of findings as one tuple that all features share, because each logged decision keeps its own.
_TOGETHER: Final = {
    (seen, heard): tuple(evidence for evidence in (seen, heard) if evidence is not None)
    for seen in (None, _CODE_FOUND, _TEXT_ASSUMED)
    for heard in (None, _RISK_FOUND, _RISK_BY_TASK, _RISK_ABSENT)
}


def extract(request: RoutingRequest) -> Features:
    """Features of one request. Raises InvalidRequest when there is neither a text nor a task type to go by."""
    text = request.text
    lowered = text.lower()
    words = text.count(" ") + 1 if text else 0
    code_marks = sum([mark in text for mark in CODE_MARKS]) if text else 0
    task_type, task_confidence = request.task_type, 1.0
    by_text: tuple[tuple[str, float], ...] = ()
    if task_type is None:
        task_type, task_confidence = infer_task_type(lowered, code_marks)
        by_text = (("task_type", task_confidence),)
    modality, seen = _modality(request, code_marks)
    risk, heard = _risk(request, lowered, task_type)
    return Features(
        chars=len(text),
        words=words,
        input_tokens=estimate_tokens(text, words) + request.context_tokens,
        code_marks=code_marks,
        script="Latn" if text.isascii() else script_of(text),
        task_type=task_type,
        task_confidence=task_confidence,
        modality=modality,
        risk=risk,
        urgency=request.urgency or _infer_urgency(lowered),
        inferred=by_text + _TOGETHER[seen, heard],
    )


def estimate_tokens(text: str, words: int | None = None) -> int:
    """About how many tokens the text has (seed 001: by words), for any script; 0 for an empty text."""
    if not text:
        return 0
    if text.isascii():
        by_words = (text.count(" ") + 1 if words is None else words) * 4 // 3
        return max(len(text) // CHARS_PER_TOKEN, by_words) + 1  # as estimate_ascii has it
    return len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN + 1


def estimate_ascii(chars: Ints, spaces: Ints) -> Ints:
    """`estimate_tokens` for many ASCII texts, of which only the counts are at hand; each (texts,)."""
    tokens = np.maximum(chars // CHARS_PER_TOKEN, (spaces + 1) * 4 // 3) + 1
    return np.where(chars > 0, tokens, 0)


def mentions_high_risk(lowered: str) -> bool:
    """Whether a text in lower case holds a word that makes its handling risky."""
    for letters, stems in HIGH_RISK:  # noqa: SIM110 - a generator costs twice as much here
        if letters in lowered and any(stem in lowered for stem in stems):
            return True
    return False


def infer_task_type(lowered: str, code_marks: int) -> tuple[TaskType, float]:
    """The task type whose stems the text holds most of, and how far that evidence leads the next best."""
    if not lowered.strip():
        raise InvalidRequest("there is no text to infer it from", where="task_type", allowed=list(TaskType))
    hits = {task_type: sum(stem in lowered for stem in stems) for task_type, stems in TASK_STEMS.items()}
    if code_marks:
        hits[TaskType.CODE_REVIEW] += 2 * ("review" in lowered)  # more than code alone says for writing some
        hits[TaskType.CODE_GENERATION] += 1
    best, second = sorted(hits.items(), key=lambda item: -item[1])[:2]
    if best[1] == 0:
        return TaskType.ANALYSIS, NO_EVIDENCE
    return best[0], min(MAX_CONFIDENCE, best[1] / (best[1] + second[1] + 0.5))


def script_of(text: str) -> str:
    """The script that most letters outside ASCII belong to, of the first few hundred; 'Latn' when none stands out."""
    counts: dict[str, int] = {}
    sampled = 0
    for char in text:
        code = ord(char)
        if code < SCRIPTS[0][1]:
            continue
        name = next((name for name, low, high in SCRIPTS if low <= code <= high), None)
        if name is not None:
            counts[name] = counts.get(name, 0) + 1
        sampled += 1
        if sampled >= SCRIPT_SAMPLE_CHARS:
            break
    if "Jpan" in counts:
        return "Jpan"
    return max(counts, key=lambda name: counts[name]) if counts else "Latn"


def _modality(request: RoutingRequest, code_marks: int) -> tuple[Modality, Evidence]:
    if request.modality is not None:
        return request.modality, None
    if request.task_type is TaskType.MULTIMODAL or Capability.VISION in request.requires:
        return Modality.IMAGE, _CODE_FOUND
    return (Modality.CODE, _CODE_FOUND) if code_marks else (Modality.TEXT, _TEXT_ASSUMED)


def _risk(request: RoutingRequest, lowered: str, task_type: TaskType) -> tuple[Risk, Evidence]:
    if request.risk is not None:
        return request.risk, None
    if mentions_high_risk(lowered):
        return Risk.HIGH, _RISK_FOUND
    if task_type is TaskType.SECURITY_AUDIT:
        return Risk.MEDIUM, _RISK_BY_TASK
    return Risk.LOW, _RISK_ABSENT


def _infer_urgency(lowered: str) -> Urgency:
    for stem in URGENT:
        if stem in lowered:
            return Urgency.HIGH
    return Urgency.NORMAL
