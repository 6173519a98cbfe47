"""What the tiny ByT5 practises: short texts and the answers that are wanted, by task."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from random import Random
from typing import Final, NamedTuple

from crew_moe.local_gate.demo.manifest import DemoTask
from crew_moe.local_gate.demo.words import LONGEST, word

MAX_WORDS: Final = 4


class Exercise(NamedTuple):
    """What the model is given, prefix and all, and what it should answer."""

    given: str
    wanted: str


class Block(NamedTuple):
    """The mark that makes a line of Markdown what it is, and the element that HTML has for it."""

    mark: str
    element: str


TASKS: Final[Mapping[str, DemoTask]] = {
    "rot13": DemoTask(prefix="rot13: ", max_words=MAX_WORDS, patterns=(r"\brot[- ]?13\b",)),
    "html": DemoTask(prefix="html: ", max_words=MAX_WORDS, patterns=(r"\b(markdown|md)\b.*\bhtml\b",)),
    "plain": DemoTask(
        prefix="plain: ",
        max_words=MAX_WORDS,
        patterns=(r"\b(markdown|md)\b.*\b(plain|text)\b", r"\b(remove|strip)\b.*\b(markdown|formatting)\b"),
    ),
    "upper": DemoTask(
        prefix="upper: ", max_words=MAX_WORDS, patterns=(r"\bupper[- ]?case\b", r"\b(in|to|into) (all )?capitals\b")
    ),
}

BLOCKS: Final = (Block("", "p"), Block("# ", "h1"), Block("## ", "h2"), Block("- ", "li"))
SPANS: Final = (Block("**", "strong"), Block("*", "em"), Block("`", "code"))
_SPANNED: Final = 0.7  # of the lines of Markdown


def exercise(rng: Random, task: str, words: int, *, held_out: bool = False, longest: int = LONGEST) -> Exercise:
    """One exercise of so many words, each of at most `longest` letters."""
    drawn = [word(rng, held_out=held_out, longest=longest) for _ in range(words)]
    return _MAKERS[task](rng, drawn)


def _rot13(_: Random, words: list[str]) -> Exercise:
    text = " ".join(words)
    return Exercise(TASKS["rot13"].prefix + text, codecs.encode(text, "rot13"))


def _upper(_: Random, words: list[str]) -> Exercise:
    text = " ".join(words)
    return Exercise(TASKS["upper"].prefix + text, text.upper())


def _plain(rng: Random, words: list[str]) -> Exercise:
    line, _ = _marked(rng, words)
    return Exercise(TASKS["plain"].prefix + line, " ".join(words))


def _html(rng: Random, words: list[str]) -> Exercise:
    line, html = _marked(rng, words)
    return Exercise(TASKS["html"].prefix + line, html)


def _marked(rng: Random, words: list[str]) -> tuple[str, str]:
    """A line of Markdown over these words, and the same in HTML; the block's mark counts as a word where it can."""
    block = rng.choice(BLOCKS)
    marked, tagged = list(words), list(words)
    if rng.random() < _SPANNED:
        mark, element = rng.choice(SPANS)
        first = rng.randrange(len(words))
        last = min(len(words) - 1, first + rng.randrange(2))
        marked[first], tagged[first] = f"{mark}{marked[first]}", f"<{element}>{tagged[first]}"
        marked[last], tagged[last] = f"{marked[last]}{mark}", f"{tagged[last]}</{element}>"
    html = f"<{block.element}>{' '.join(tagged)}</{block.element}>"
    return block.mark + " ".join(marked), html


_MAKERS: Final[Mapping[str, Callable[[Random, list[str]], Exercise]]] = {
    "rot13": _rot13,
    "html": _html,
    "plain": _plain,
    "upper": _upper,
}
