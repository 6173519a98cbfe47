"""The packaged lessons: our own texts for the experts that come with the package, made by a seeded draw.

A file of the folder `corpus` is one expert's: `slots` (words by name) and `families`. A family has `texts` with {slot}
marks, or a document's parts: `asks` (what stands in front), `headings`, `sentences`, and `list`, the share of documents
with bullets. `each` is how many texts are made of each template, or of the whole family of documents.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

from crew_moe.local_gate.gate.lessons import Example

FOLDER: Final = Path(__file__).with_name("corpus")
SHORTEST: Final = 1_800  # characters of a document
LONGEST: Final = 24_000
_SLOT: Final = re.compile(r"\{([a-z]+)([2-6]?)\}")
_HEADINGS: Final = ("## {}", "{}", "{number}. {}", "Section {number}: {}", "# {number} {}", "{}:", "")


def packaged_examples(seed: int = 0) -> Iterator[Example]:
    """All of them, the same for the same seed. Examples of one `cluster` are of one template, or documents of one
    family: these are made of the same sentences, whatever is asked in front.

    >>> sorted({example.expert for example in packaged_examples()})
    ['byt5', 'extractive', 'longformer']
    """
    for path in sorted(FOLDER.glob("*.yaml")):
        yield from _written(path, Random(f"{seed}:{path.stem}"))


def _written(path: Path, rng: Random) -> Iterator[Example]:
    import yaml

    document = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    slots = {name: [str(word) for word in words] for name, words in document["slots"].items()}
    for name, family in document["families"].items():
        texts = _short(family, slots, rng) if "texts" in family else _documents(family, slots, rng)
        for template, text in texts:
            yield Example(text=text, expert=document["expert"], cluster=f"{path.stem}/{name}/{template}")


def _short(family: Mapping[str, Any], slots: Mapping[str, Sequence[str]], rng: Random) -> Iterator[tuple[int, str]]:
    """Different fillings of each template."""
    for number, template in enumerate(family["texts"]):
        for text in dict.fromkeys(_filled(template, slots, rng) for _ in range(family["each"])):
            yield number, text


def _documents(family: Mapping[str, Any], slots: Mapping[str, Sequence[str]], rng: Random) -> Iterator[tuple[int, str]]:
    """Each of another length, which is drawn so that doubling it is as likely everywhere; all of one template."""
    for _ in range(family["each"]):
        ask = family["asks"][rng.randrange(len(family["asks"]))]
        length = SHORTEST * (LONGEST / SHORTEST) ** rng.random()
        yield 0, _document(family, ask, length, slots, rng)


def _document(
    family: Mapping[str, Any], ask: str, length: float, slots: Mapping[str, Sequence[str]], rng: Random
) -> str:
    heading, bulleted = rng.choice(_HEADINGS), rng.random() < family.get("list", 0.0)
    parts, size = [ask] if ask else [], 0
    while size < length:
        title = heading.format(rng.choice(family["headings"]), number=len(parts) + 1)
        sentences = [_filled(rng.choice(family["sentences"]), slots, rng) for _ in range(rng.randint(2, 8))]
        body = "\n".join(f"- {one}" for one in sentences) if bulleted else " ".join(map(_capital, sentences))
        parts.append(f"{title}\n{body}" if title else body)
        size += len(parts[-1])
    return rng.choice(("\n\n", "\n\n", "\n")).join(parts)


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _filled(template: str, slots: Mapping[str, Sequence[str]], rng: Random) -> str:
    """A slot keeps its word throughout a template; {slot2} to {slot6} are other words of the same slot."""
    wanted: dict[str, int] = {}
    for name, number in _SLOT.findall(template):
        wanted[name] = max(wanted.get(name, 1), int(number or 1))
    words = {name: rng.sample(slots[name], count) for name, count in wanted.items()}
    return _SLOT.sub(lambda found: words[found[1]][int(found[2] or 1) - 1], template)
