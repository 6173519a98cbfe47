"""What speaks for and against a run of words being somebody's name, and how much each piece weighs.

A score card: each piece of evidence adds its weight, and the logistic function makes a probability of the sum. The
weights follow a regression on labelled names in which no template of text stood on both sides of the split; they are
rounded, and raised where a clue is sure but was rare there ("Mrs.", "my name is").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import exp
from typing import Final

from crew_moe.screening.pii.lexicon import clues, doubtful_names, fold, given_names, surnames

WEIGHTS: Final = {
    "any": -1.4,
    # what it consists of
    "given": 4.0, "doubtful": 0.7, "doubtful pair": 2.0, "later given": 1.2, "surname": 0.8, "family": 0.8,
    "ending": 2.2, "initial": 3.0, "accents": 0.9, "capitals": -2.4, "camel": -0.8, "thing": -3.0, "small": 0.3,
    "unknown": -1.1, "unknown start": -0.6, "unknown two": -0.1,
    "words 1": -0.7, "words 2": 0.0, "words 3": 0.3, "words 4": -0.8,
    # what stands before it
    "start": 0.0, "title": 3.6, "introduced": 3.6, "role": 2.6, "agent": 1.2, "doer": 1.6, "told": 3.3,
    "asked about": 3.4, "asked whether": 2.0, "met": 2.4, "place": -0.4, "article": -1.6,
    # what stands after it
    "speaking": 1.6, "speech": 2.2, "living": 1.6, "being": 0.6, "owning": 1.0, "personal": 2.4, "addressed": 3.3,
}  # fmt: skip

PARTICLES: Final = frozenset({
    "van", "von", "der", "den", "de", "del", "della", "di", "da", "do", "dos", "das", "du", "la", "le", "ten", "ter",
    "bin", "ibn", "al", "el", "af", "zu", "y", "e",
})  # fmt: skip
_KNOWN: Final = frozenset(("given", "doubtful", "later given", "surname", "family", "ending"))
_ENDING: Final = re.compile(
    r"[a-z]{2}(?:ovic|evic|ovich|evich|ova|eva|enko|czyk|wicz|owski|ewski|inski|cki|ski|skaya|sson|sdottir|sen|inen|shvili"
    r"|idze|adze|escu|eanu|opoulos|idis|akis|ucci|etti|elli|mann|strom|quist|qvist|gren|lund|moto|mura|yama|guchi|zaki"
    r"|stra|eira|oglu|auskas|iunas|lehto|koski|haara|maki|slav|slava|[a-z]ev|[a-z]ov|guez|quez|inez|anez|alez|erez|opez"
    r"|imez|irez|indez)$"
)
_OWNED: Final = re.compile(r"['\u2019]s\s([^\W\d_]+)")
_HUMP: Final = re.compile(r"[a-zß-öø-ÿ][A-Z]")
_HUMPED: Final = ("Mc", "Mac", "De", "Di", "Du", "La", "Le", "Fitz")
_QUOTES: Final = "\"'\u201c("
_REACH: Final = 40  # characters to either side that are looked at
_BREAKS: Final = frozenset('.!?:;>»|•*"“”([\n')
_ENDS: Final = frozenset(".!?\n")

# Word before a run -> what it tells.
_LEFT: Final = (
    ("role", "roles"), ("told", "speech"), ("agent", "agents"), ("met", "meeting"), ("place", "places"),
    ("article", "articles"),
)  # fmt: skip
# Word after a run -> what it tells.
_RIGHT: Final = (("speech", "speech"), ("living", "living"), ("being", "being"))


def probability(evidence: frozenset[str]) -> float:
    return 1.0 / (1.0 + exp(-sum(WEIGHTS[piece] for piece in evidence)))


def bare(word: str) -> str:
    """A word as the lists have it: folded, no possessive."""
    folded = fold(word)
    return folded[:-2] if folded.endswith("'s") else folded


def weigh(text: str, start: int, end: int, words: Sequence[str], *more: str) -> frozenset[str]:
    """The evidence on the words that stand from `start` to `end`; `more` is known already."""
    folded = [bare(word) for word in words]
    left = words_before(text, start)
    evidence = {"any", *more} | _of_words(folded) | _of_shape(words) | introduced(left)
    evidence |= _before(text, start, left) | _after(text, end)
    owned = _OWNED.match(text, end)
    if owned is not None and owned[1].lower() in clues("owned"):
        evidence.add("personal")
    if evidence & {"title", "introduced", "addressed"}:
        evidence.discard("start")  # of a sentence: "Mrs." ends none
    if not evidence & _KNOWN:
        evidence |= _of_unknown(evidence, len(words), left)
    return frozenset(evidence)


def words_before(text: str, start: int) -> list[str]:
    return text[max(0, start - _REACH) : start].lower().split()


def introduced(left: Sequence[str]) -> set[str]:
    """What the words before a run say of it: a title, an introduction."""
    if not left:
        return set()
    last, pair = left[-1].lstrip(_QUOTES), " ".join(left[-2:])
    found = {"title"} if last.rstrip(".") in clues("titles") else set()
    asked = last in clues("answers") and any(word.startswith("name") for word in left[-6:])
    if asked or last in clues("introductions") or pair in clues("introducing pairs"):
        found.add("introduced")
    return found


def _of_words(words: Sequence[str]) -> set[str]:
    """What the lists say of the words of a run."""
    first, rest = words[0], [word for word in words[1:] if word not in PARTICLES]
    checks = {
        "given": _is_given(first, given_names()),
        "doubtful": _is_given(first, doubtful_names()),
        "later given": any(word in given_names() for word in rest),
        "surname": bool(rest) and rest[-1] in surnames(),
        "family": not rest and first in surnames(),
        "ending": bool(_ENDING.search(words[-1])),
        "initial": any(len(word) == 1 for word in words[1:]),
        "thing": not clues("things").isdisjoint(words),
    }
    found = {name for name, holds in checks.items() if holds} | {f"words {min(len(rest) + 1, 4)}"}
    if "doubtful" in found and found & {"later given", "surname", "ending"}:
        found.add("doubtful pair")
    return found


def _is_given(word: str, names: frozenset[str]) -> bool:
    return word in names or ("-" in word and word.partition("-")[0] in names)


def _of_shape(words: Sequence[str]) -> set[str]:
    """What the letters say: ABBREVIATION, camelCase, Ångström."""
    checks = {
        "capitals": any(len(word) > 1 and word.isupper() for word in words),
        "camel": any(_HUMP.search(word) and not word.startswith(_HUMPED) for word in words),
        "accents": not all(map(str.isascii, words)),
    }
    return {name for name, holds in checks.items() if holds}


def _of_unknown(evidence: set[str], count: int, left: Sequence[str]) -> set[str]:
    """What counts only for words that no list knows."""
    found = {"unknown"}
    if "start" in evidence:
        found.add("unknown start")
    if count == 2:
        found.add("unknown two")
        if left and left[-1].strip(_QUOTES) in clues("doers"):
            found.add("doer")
    return found


def _before(text: str, start: int, left: Sequence[str]) -> set[str]:
    """What stands before a run: the start of a sentence, and what the last word tells."""
    lead = text[max(0, start - 3) : start].rstrip(" \t")[-1:]
    begins = {"start"} if not lead or lead in _BREAKS else set()
    if not left or not lead or lead in _ENDS:
        return begins
    last = left[-1].strip(_QUOTES + ",")
    found = {name for name, section in _LEFT if last in clues(section)}
    if " ".join(left[-2:]) in clues("asking pairs"):
        found.add("asked about")
    if last in clues("asking") and (len(left) == 1 or left[-2][-1] in _ENDS):
        found.add("asked whether")
    return found | begins


def _after(text: str, end: int) -> set[str]:
    """What stands after a run: a colon, a comma and a request, a verb."""
    right = text[end : end + _REACH].lower()
    words = right.lstrip("\"'\u201d,").split(None, 1)
    found = {"speaking"} if right[:1] == ":" else set()
    if not words or right[:1] not in {" ", ",", '"', "\u201d"}:
        return found
    if right[:2] == ", " and words[0] in clues("addressing"):
        found.add("addressed")
    following = words[0].strip(".,\"'?!;")
    return found | {name for name, section in _RIGHT if following in clues(section)}
