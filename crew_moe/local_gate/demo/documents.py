"""What the tiny LED practises: made-up reports, and the one sentence of each that sums it up.

That is the sentence after a mark such as `Key point:`, wherever it stands, or else the first one. A heading is none.
"""

from __future__ import annotations

from random import Random
from typing import Final, NamedTuple

from crew_moe.local_gate.demo.words import word

MARKS: Final = ("Key point:", "In short:", "Summary:", "Conclusion:", "Main point:")
MARKED: Final = 0.5  # of the documents


def _listed(text: str, between: str | None = None) -> tuple[str, ...]:
    return tuple(" ".join(one.split()) for one in text.split(between))


_SUBJECTS: Final = _listed("""
    team board customer supplier service server database queue release report audit contract partner manager engineer
    office factory warehouse market budget project system network model study survey company council committee author
    reader student teacher doctor patient driver farmer artist agency ministry bank shop
""")
_VERBS: Final = _listed("""
    approved delayed changed replaced reviewed stopped started measured improved reduced doubled found lost moved
    repaired tested shipped sold bought closed opened described explained missed reached refused accepted checked
    planned paid signed sent received published cancelled recorded compared
""")
_OBJECTS: Final = _listed("""
    plan price load cost limit error test order payment backup password log meeting invoice deadline agreement method
    result sample figure chapter question answer road bridge building machine engine pump cable window door letter
    package ticket account license update schedule target risk rule
""")
_QUALITIES: Final = _listed("""
    new old small large first second last whole local public private early late short long cheap costly quiet busy open
    simple complex annual weekly daily internal external final missing broken
""")
_TAILS: Final = _listed(
    """
    before the summer|after a week|in the north|without a warning|for the third time|because of the weather|
    during the night|at the end of the year|with great care|under the old rules|on Monday|in two steps|
    for no clear reason|as agreed|near the station|within the budget|by mistake|on request|at half the price|
    since the spring
    """,
    "|",
)
_LITTLE: Final = _listed("""
    a an and are as at be but by can did for from had has have her his how if in into is it its may more must no not of
    on one or our out over so than that the their then there they this to two was we were when which who will with you
""")
_PLAIN_WORDS: Final = _SUBJECTS + _VERBS + _OBJECTS + _QUALITIES
_SHUFFLED: Final = 0.5  # sentences without grammar, so that copying does not lean on it
_HEADED: Final = 0.2  # documents that begin with a heading


class Document(NamedTuple):
    """A text and the sentence that sums it up; `marked` says which of the two rules made it that one."""

    text: str
    summary: str
    marked: bool


def document(rng: Random, sentences: int, *, held_out: bool = False) -> Document:
    """A document of so many sentences; the names in those that are held out were never practised."""
    written = [sentence(rng, held_out=held_out) for _ in range(sentences)]
    heading = f"# {_name(rng, held_out)} {_shuffled(rng, held_out, 3)}\n\n" if rng.random() < _HEADED else ""
    if rng.random() >= MARKED:
        return Document(heading + _joined(rng, written), written[0], marked=False)
    chosen = rng.randrange(sentences)
    marked = [f"{rng.choice(MARKS)} {one}" if place == chosen else one for place, one in enumerate(written)]
    return Document(heading + _joined(rng, marked), written[chosen], marked=True)


def sentence(rng: Random, *, held_out: bool) -> str:
    """One sentence, with one name at least that is a made-up word."""
    if rng.random() < _SHUFFLED:
        return f"{_name(rng, held_out)} {_shuffled(rng, held_out, 14)}{rng.choice('...!?')}"
    pick = rng.choice
    subject = f"The {pick(_SUBJECTS)} of {_name(rng, held_out)}"
    if rng.random() < 0.4:
        subject = f"{_name(rng, held_out)}, a {pick(_QUALITIES)} {pick(_SUBJECTS)},"
    told = f"{subject} {pick(_VERBS)} the {pick(_QUALITIES)} {pick(_OBJECTS)}"
    if rng.random() < 0.5:
        told += f" of {_name(rng, held_out)}"
    return f"{told} {pick(_TAILS)}." if rng.random() < 0.6 else f"{told}."


def _shuffled(rng: Random, held_out: bool, most: int) -> str:
    return " ".join(_any_word(rng, held_out) for _ in range(rng.randint(1, most)))


def _any_word(rng: Random, held_out: bool) -> str:
    """A word of English or a made-up one, or what texts have beside words: figures, brackets, commas."""
    kind, made = rng.random(), word(rng, held_out=held_out)
    if kind < 0.25:
        return rng.choice(_LITTLE)
    if kind < 0.5:
        return rng.choice(_PLAIN_WORDS)
    if kind < 0.8:
        return made
    figure = rng.randrange(1000)
    return rng.choice((f"{made},", f"({made})", f'"{made}"', f"{made}-{made}", f"{figure / 10}", f"{figure} %", "-"))


def _name(rng: Random, held_out: bool) -> str:
    return word(rng, held_out=held_out).capitalize()


def _joined(rng: Random, sentences: list[str]) -> str:
    """Sentences with blanks between, now and then with a new paragraph."""
    text = sentences[0]
    for one in sentences[1:]:
        text += ("\n\n" if rng.random() < 0.15 else " ") + one
    return text
