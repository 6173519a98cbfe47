"""What the quality model sees of a text: hashed words and pairs of words, and its form.

Hashing is arithmetic, the same on every machine; nothing is fitted here. Of a long text the beginning and the end are
read, so that the time has a bound.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from crew_moe.domain.features import Features
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.task import Modality, Risk, TaskType, Urgency
from crew_moe.learning.quality.form import NAMES, form
from crew_moe.routing.features import extract

BITS: Final = 18
DIMENSIONS: Final = 1 << BITS
MOST_CHARS: Final = 4_000  # read of a text; half from its beginning, half from its end
TEXT: Final = "text"
FEATURES: Final = "features"
_TOKEN: Final = re.compile(r"\w+|[^\w\s]")
_STEP: Final = np.uint64(0x9E3779B97F4A7C15)  # the golden ratio in 64 bits: odd, and without a regular pattern
_HALF: Final = np.uint64(29)
_SHIFT: Final = np.uint64(64 - BITS)
_RISKS: Final = tuple(Risk)
_URGENCIES: Final = tuple(Urgency)
FEATURE_NAMES: Final = ("chars", "words", "input_tokens", "code_marks", "foreign", "image", "code", "risk", "urgency")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """One text. `grams` are distinct and below DIMENSIONS, `weights` grow with how often each occurs; both (g,).

    `form` holds the numbers of form.NAMES, or of FEATURE_NAMES for a request of which no text was kept. `chars` and
    `words` are counts of the whole text: what a cost depends on.
    """

    grams: NDArray[np.int64]
    weights: NDArray[np.float32]
    form: NDArray[np.float64]
    chars: int
    words: int


def see(text: str) -> Seen:
    """All there is to see in a text."""
    half = MOST_CHARS // 2
    read = text if len(text) <= MOST_CHARS else f"{text[:half]} {text[-half:]}"
    tokens = _TOKEN.findall(read.lower())
    grams, counts = _distinct(_hashes(tokens))
    weights = (1.0 + np.log(counts)).astype(np.float32)
    return Seen(grams=grams, weights=weights, form=form(read, tokens), chars=len(text), words=text.count(" ") + 1)


def see_features(features: Features) -> Seen:
    """What the decision log keeps of a request: sizes and signals, no word of its text."""
    numbers = (
        np.log1p(features.chars),
        np.log1p(features.words),
        np.log1p(features.input_tokens),
        float(features.code_marks),
        float(features.script != "Latn"),
        float(features.modality is Modality.IMAGE),
        float(features.modality is Modality.CODE),
        float(_RISKS.index(features.risk)),
        float(_URGENCIES.index(features.urgency)),
    )
    nothing = np.zeros(0, dtype=np.int64)
    return Seen(
        grams=nothing,
        weights=np.zeros(0, dtype=np.float32),
        form=np.array(numbers, dtype=np.float64),
        chars=features.chars,
        words=features.words,
    )


def features_of(text: str, task_type: str | None) -> Features:
    """The features that the log would keep of this text; an unknown task type is inferred."""
    known = TaskType(task_type) if task_type in tuple(TaskType) else None
    named = known or (None if text.strip() else TaskType.ANALYSIS)
    return extract(RoutingRequest(text=text, task_type=named))


def names(sees: str) -> tuple[str, ...]:
    """The numbers of `Seen.form` by name, for a model of this kind."""
    return NAMES if sees == TEXT else FEATURE_NAMES


def _hashes(tokens: Sequence[str]) -> NDArray[np.int64]:
    """One word, and two in a row."""
    coded = "\n".join(tokens).encode("utf-8", "surrogatepass").split(b"\n") if tokens else []
    codes = np.array(list(map(zlib.crc32, coded)), dtype=np.uint64)
    one = codes * _STEP
    two = (one[:-1] ^ _HALF) * _STEP + one[1:]
    mixed = np.concatenate((one, two))
    mixed = (mixed ^ (mixed >> _HALF)) * _STEP
    hashes: NDArray[np.int64] = (mixed >> _SHIFT).astype(np.int64)
    return hashes


def _distinct(hashes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each hash once, in order, and how often it occurs; np.unique takes several times as long."""
    ordered = np.sort(hashes)
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    return ordered[starts], np.diff(starts, append=len(ordered))
