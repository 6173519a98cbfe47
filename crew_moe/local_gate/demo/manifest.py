"""crew_moe.json: what a model of this package's own training can do, how well, and how it is asked.

It lies beside the weights. A model from elsewhere has none, and is given its text as it comes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from crew_moe.domain.complaint import complaint
from crew_moe.errors import ConfigError

Kind = Literal["byt5", "longformer"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
NAME: Final = "crew_moe.json"
LABEL: Final = "demonstration"
MAX_BYTES: Final = 1_000_000
MAX_INSTRUCTION: Final = 240  # characters; what comes later is no instruction but the text itself

_OPENS: Final = re.compile(r'(?P<colon>:)(?=\s|["`\'“]|$)|(?<!\S)(?P<quote>["\'“`])')
_CLOSING: Final = {'"': '"', "'": "'", "`": "`", "“": "”"}
_TYPED_BREAK: Final = re.compile(r"\\n(?=(#{1,6}|-) )")
_PARTS: Final = re.compile(r"(\S+)(\s*)")


class Piece(NamedTuple):
    """A part of a text that the model can take at once, and the white space around it."""

    before: str
    text: str
    after: str


class DemoTask(BaseModel):
    """One thing that the model was taught. The model is given `prefix` and the text, of at most `max_words` words
    (None: any number). An instruction in which one of the `patterns` is found asks for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefix: str
    max_words: int | None = Field(default=None, ge=1)
    patterns: tuple[str, ...] = ()

    @field_validator("patterns")
    @classmethod
    def _can_be_searched_for(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                _compiled(pattern)
            except re.error as error:
                raise ValueError(f"'{pattern[:80]}' is no regular expression ({error.msg})") from None
        return patterns

    def is_asked_by(self, instruction: str) -> bool:
        """Whether this instruction, without the text that it is about, asks for the task."""
        return any(_compiled(pattern).search(instruction) for pattern in self.patterns)

    def pieces(self, text: str) -> tuple[Piece, ...]:
        """The text in parts of at most `max_words` words, none across a line; joined, they are the text."""
        if self.max_words is None:
            return (Piece("", text, ""),)
        return tuple(_pieces(text, self.max_words)) or (Piece(text, "", ""),)


class Trained(BaseModel):
    """How the weights came to be; `versions` are those of the libraries."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int
    seconds: float
    seed: int
    versions: Mapping[str, str] = {}


class DemoManifest(BaseModel):
    """What lies in crew_moe.json. `accuracy` is the share of exact answers on words that were held out of training:
    by task, then by the number of words (or by another measure's name).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    label: str = LABEL
    tasks: Mapping[str, DemoTask]
    accuracy: Mapping[str, Mapping[str, float]] = {}
    trained: Trained

    def task_of(self, text: str) -> tuple[str, str] | None:
        """(name of the task, the text that it is to be done on), or None where the text asks for none of them.

        The text stands in quotes or after a colon, as in `Create a ROT13 encryption of this text: "Hello World"`, or
        after the prefix itself. Where lines of Markdown were typed in one, with `\\n` between, they are lines again.
        """
        for name, task in self.tasks.items():
            if task.prefix and text.startswith(task.prefix):
                return name, text[len(task.prefix) :]
        parts = _parted(text)
        if parts is None:
            return None
        instruction, payload = parts
        named = next((name for name, task in self.tasks.items() if task.is_asked_by(instruction)), None)
        return None if named is None else (named, _TYPED_BREAK.sub("\n", payload))


def demo_folder(models: Path, kind: Kind) -> Path:
    """Where the demonstration of this kind lies in a folder of models."""
    return models / f"{kind}-demo"


def read_manifest(folder: Path) -> DemoManifest | None:
    """What crew_moe.json in a model's folder says; None where there is none. Raises ConfigError where it is broken."""
    path = folder / NAME
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"can't be read ({error.strerror})", file=str(path)) from None
    if len(content) > MAX_BYTES:
        raise ConfigError("is too large", file=str(path), allowed=(f"up to {MAX_BYTES:,} bytes",))
    try:
        return DemoManifest.model_validate(json.loads(content))
    except ValidationError as error:
        what, key, value, allowed = complaint(error, DemoManifest)
        raise ConfigError(what, file=str(path), key=key, value=value, allowed=allowed) from None
    except (ValueError, RecursionError):  # not JSON, or not even text
        raise ConfigError("is not a JSON document", file=str(path)) from None


def write_manifest(folder: Path, manifest: DemoManifest) -> None:
    """Write crew_moe.json into a model's folder."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    (folder / NAME).write_text(text, encoding="utf-8")


def _parted(text: str) -> tuple[str, str] | None:
    """The instruction and what it is about; None where nothing tells them apart."""
    opening = _OPENS.search(text[: MAX_INSTRUCTION + 1])
    if opening is None:
        return None
    if opening["colon"]:
        return text[: opening.start()], _unquoted(text[opening.end() :].strip())
    end = text.rfind(_CLOSING[opening["quote"]], opening.end())
    return None if end < 0 else (text[: opening.start()] + text[end + 1 :][:MAX_INSTRUCTION], text[opening.end() : end])


def _unquoted(text: str) -> str:
    """Without quotes around all of it; those that open a part of it alone stay."""
    closing = _CLOSING.get(text[:1])
    inside = text[1:-1]
    whole = len(text) > 1 and closing is not None and text.endswith(closing) and closing not in inside
    return inside if whole else text


def _pieces(text: str, most: int) -> Iterator[Piece]:
    start = len(text) - len(text.lstrip())
    before, words, after = text[:start], 0, ""
    piece = ""
    for match in _PARTS.finditer(text, start):
        if words and (words == most or "\n" in after):
            yield Piece(before, piece, after)
            before, words, piece, after = "", 0, "", ""
        piece += after + match[1]
        words, after = words + 1, match[2]
    if words:
        yield Piece(before, piece, after)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)
