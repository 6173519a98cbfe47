"""Task types and what a policy says of each."""

from __future__ import annotations

from dataclasses import dataclass

from crew_moe.domain.expert import Capability
from crew_moe.domain.word import Word


class TaskType(Word):
    """The twelve kinds of work of seed 001."""

    CODE_GENERATION = "code_generation"
    CODE_REVIEW = "code_review"
    TESTING = "testing"
    REFACTORING = "refactoring"
    REASONING = "reasoning"
    PLANNING = "planning"
    ANALYSIS = "analysis"
    SECURITY_AUDIT = "security_audit"
    DOCUMENTATION = "documentation"
    TOOL_USE = "tool_use"
    MULTIMODAL = "multimodal"
    LONG_CONTEXT = "long_context"


class Risk(Word):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Urgency(Word):
    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


class Modality(Word):
    TEXT = "text"
    CODE = "code"
    IMAGE = "image"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPreference:
    """What the policy says of one task type.

    `preferred` and `budget` are expert ids, best first. Output tokens are predicted as input tokens times
    `output_multiplier`, kept between `min_output_tokens` and `max_output_tokens`.
    """

    preferred: tuple[str, ...]
    budget: tuple[str, ...]
    requires: frozenset[Capability]
    output_multiplier: float
    min_output_tokens: int
    max_output_tokens: int
    critical: bool
