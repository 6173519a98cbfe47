"""How long hosted experts take: for short, medium and long texts, alone and many at once (seed 003's table)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass
from random import Random
from statistics import median
from time import perf_counter
from typing import Any, Final

from crew_moe.domain.hosting import HostKind, HostSpec
from crew_moe.domain.local_work import Asked, LocalRefusal, Processed
from crew_moe.errors import ConfigError
from crew_moe.local_gate.demo.manifest import read_manifest
from crew_moe.local_gate.serving import LocalGate

WORDS: Final[Mapping[str, int]] = {"short": 50, "medium": 300, "long": 800}
"""A length of each kind that seed 003 tells apart: below 100 words, up to 500, above."""
AT_ONCE: Final = 16
PATIENCE_S: Final = 600.0
"""What is slow is measured too; the time limit of the plan is for those who wait for an answer."""
SYLLABLES: Final = ("ba", "den", "fo", "gri", "kel", "lu", "mar", "no", "pi", "ras", "sto", "ten", "vu", "wel", "zi")


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Times of one hosted expert: of its first answer (loading included), and the median by kind of text, in seconds;
    and how many short texts it answers in a second when they come at once.
    """

    expert: str
    first_s: float
    by_length_s: Mapping[str, float]
    at_once_per_s: float
    device: str
    memory_bytes: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


async def times(gate: LocalGate, *, rounds: int, seed: int = 0) -> AsyncIterator[tuple[str, Times | LocalRefusal]]:
    """Each of the gate's experts, one after another: how long it takes, or why it can't be measured.

    No text comes twice, so that nothing is answered from memory.
    """
    rng = Random(seed)
    for name in gate.plan.hosts:
        yield name, await _times(gate, name, rounds, rng)


def options_of(spec: HostSpec) -> dict[str, str]:
    """What to ask an expert with, so that it takes any text: a demonstration ByT5 does nothing but its tasks."""
    if spec.kind is not HostKind.BYT5 or spec.path is None:
        return {}
    try:
        manifest = read_manifest(spec.path)
    except ConfigError:  # the expert tells of it
        return {}
    return {"task": next(iter(manifest.tasks))} if manifest is not None and manifest.tasks else {}


async def _times(gate: LocalGate, name: str, rounds: int, rng: Random) -> Times | LocalRefusal:
    first = await _ask(gate, name, WORDS["short"], rng)
    if isinstance(first, LocalRefusal):
        return first
    by_length = {}
    for kind, words in WORDS.items():
        answers = [await _ask(gate, name, words, rng) for _ in range(rounds)]
        refused = next((answer for answer in answers if isinstance(answer, LocalRefusal)), None)
        if refused is not None:
            return refused
        by_length[kind] = median(answer.processing_time_s for answer in answers if isinstance(answer, Processed))
    began = perf_counter()
    await asyncio.gather(*(_ask(gate, name, WORDS["short"], rng) for _ in range(AT_ONCE)))
    at_once = AT_ONCE / (perf_counter() - began)
    health = (await asyncio.to_thread(gate.health)).hosts[name]
    return Times(
        expert=name,
        first_s=first.processing_time_s,
        by_length_s=by_length,
        at_once_per_s=at_once,
        device=health.device,
        memory_bytes=health.memory_bytes,
    )


async def _ask(gate: LocalGate, name: str, words: int, rng: Random) -> Processed | LocalRefusal:
    options = options_of(gate.plan.hosts[name])
    return await gate.process(Asked(text=prose(words, rng), expert=name, options=options, timeout_s=PATIENCE_S))


def prose(words: int, rng: Random) -> str:
    """That many made-up words, in sentences of about twelve.

    >>> prose(4, Random(1))
    'Pi gri tenno tenden.'
    """
    made = ["".join(rng.choices(SYLLABLES, k=rng.randint(1, 3))) for _ in range(words)]
    sentences = [" ".join(made[start : start + 12]).capitalize() + "." for start in range(0, words, 12)]
    return " ".join(sentences)
