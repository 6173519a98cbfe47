"""What is done under load: the next best expert where that is nearly as good and less busy, and cheaper answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from crew_moe.domain.local_work import Work

BUSY: Final = 0.25
"""An expert is busy when a call would wait for longer than this share of its time."""
MARGIN: Final = 0.2
"""How much less likely than the gate's choice an expert may be that takes its place."""
LEAST_TOKENS: Final = 32

LIGHTER: Final[Mapping[str, Callable[[Any], Any]]] = {
    "num_beams": lambda _: 1,
    "num_beam_groups": lambda _: 1,
    "num_return_sequences": lambda _: 1,
    "best_of": lambda _: 1,
    "n": lambda _: 1,
}
"""What becomes of the options that only cost time, in a light answer; its longest length is halved, too."""


def is_busy(wait_s: float, left_s: float) -> bool:
    return wait_s > BUSY * left_s


def relieved(
    ranked: Sequence[str], probabilities: Mapping[str, float], waits_s: Mapping[str, float], left_s: float
) -> tuple[str, ...]:
    """The experts in the order in which they are to be asked: the gate's, unless its first is busy and another that is
    nearly as likely is not.

    >>> relieved(("a", "b", "c"), {"a": 0.5, "b": 0.4, "c": 0.1}, {"a": 9.0, "b": 0.0, "c": 0.0}, left_s=10.0)
    ('b', 'a', 'c')
    """
    first = ranked[0]
    if not is_busy(waits_s[first], left_s):
        return tuple(ranked)
    least = probabilities.get(first, 0.0) - MARGIN
    free = [name for name in ranked[1:] if probabilities.get(name, 0.0) >= least and not is_busy(waits_s[name], left_s)]
    return (*free, *(name for name in ranked if name not in free))


def lighter(work: Work) -> Work:
    """The same, cheaper.

    >>> light = lighter(Work(text="", options={"num_beams": 4}, max_output_tokens=256))
    >>> light.options, light.max_output_tokens
    ({'num_beams': 1}, 128)
    """
    options = {name: LIGHTER[name](value) if name in LIGHTER else value for name, value in work.options.items()}
    most = work.max_output_tokens
    return replace(work, options=options, max_output_tokens=None if most is None else max(most // 2, LEAST_TOKENS))
